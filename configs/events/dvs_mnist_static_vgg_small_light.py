# DVS-MNIST-5k, as one image: binary spikes with light calibration on vgg_small.
_base_ = [
    "../_base_/tasks/dvs_mnist_static.py",
    "../_base_/models/vgg_small.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=4)
