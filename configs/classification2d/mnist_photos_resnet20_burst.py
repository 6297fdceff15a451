# MNIST-Photos: few steps, bursts of up to four spikes.
_base_ = [
    "../_base_/tasks/mnist_photos.py",
    "../_base_/models/resnet20.py",
    "../_base_/methods/burst.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=2, max_spikes=4)
