# MNIST-Points: few steps, bursts of up to four spikes.
_base_ = [
    "../_base_/tasks/mnist_points.py",
    "../_base_/models/pointnet_small.py",
    "../_base_/methods/burst.py",
    "../_base_/schedules/points_24.py",
]
conversion = dict(T=2, max_spikes=4)
