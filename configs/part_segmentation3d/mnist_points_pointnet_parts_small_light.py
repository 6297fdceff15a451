# Parts of MNIST-Points: binary spikes with light calibration on pointnet_parts_small.
_base_ = [
    "../_base_/tasks/mnist_points_parts.py",
    "../_base_/models/pointnet_parts_small.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/points_24.py",
]
conversion = dict(T=8)
