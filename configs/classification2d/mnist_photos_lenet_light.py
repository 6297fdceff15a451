# MNIST-Photos: binary spikes with light calibration on lenet.
_base_ = [
    "../_base_/tasks/mnist_photos.py",
    "../_base_/models/lenet.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=4)
