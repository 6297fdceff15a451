# MNIST-5k: the trained ResNet-20 itself.
_base_ = [
    "../_base_/tasks/mnist5k.py",
    "../_base_/models/resnet20.py",
    "../_base_/methods/ann.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=1)
