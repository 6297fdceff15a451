# CIFAR-10, VGG-16, Adaptive Calibration at T=16, φ up to 8 (its code: T 16 to 32).
_base_ = [
    "../_base_/tasks/cifar10.py",
    "../_base_/models/vgg16.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/cifar_200.py",
]
conversion = dict(
    T=16,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=dict(score="entropy"),
)
