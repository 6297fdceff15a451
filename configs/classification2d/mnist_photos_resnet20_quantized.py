# MNIST-Photos: the control of burst at T=2, φ=4: activations of 9 levels, no spikes.
_base_ = [
    "../_base_/tasks/mnist_photos.py",
    "../_base_/models/resnet20.py",
    "../_base_/methods/quantized_ann.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=2, max_spikes=4)
