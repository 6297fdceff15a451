# N-MNIST, as one image: ResNet-20, Adaptive Calibration, mean φ of 4, T=8.
_base_ = [
    "../_base_/tasks/n_mnist_static.py",
    "../_base_/models/resnet20.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=dict(score="entropy"),
)
