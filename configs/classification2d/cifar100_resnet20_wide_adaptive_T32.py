# CIFAR-100, ResNet-20, Adaptive Calibration at T=32, φ up to 8 (its code: T 16 to 32).
_base_ = [
    "../_base_/tasks/cifar100.py",
    "../_base_/models/resnet20_wide.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/cifar_200.py",
]
conversion = dict(
    T=32,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=dict(score="entropy"),
)
