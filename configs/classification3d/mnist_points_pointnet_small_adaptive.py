# MNIST-Points: all parts of Adaptive Calibration with their options spelt out.
_base_ = [
    "../_base_/tasks/mnist_points.py",
    "../_base_/models/pointnet_small.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/points_24.py",
]
conversion = dict(
    T=8,
    calibration="light",
    adafire=dict(max_spikes=(1, 8), budget=4, ratio=1.0),
    ssc=dict(ratios=(1.0, 10.0, 0.5), tolerance=1.0),
    iat=dict(score="entropy"),
)
