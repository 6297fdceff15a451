# MNIST-Points: binary spikes with light calibration on pointnet_small_tnet.
_base_ = [
    "../_base_/tasks/mnist_points.py",
    "../_base_/models/pointnet_small_tnet.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/points_24.py",
]
conversion = dict(T=8)
