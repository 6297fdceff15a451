# ImageNet, ResNet-34, Adaptive Calibration: T=32, φ up to 8. Set model.checkpoint.
_base_ = [
    "../_base_/tasks/imagenet.py",
    "../_base_/models/resnet34_imagenet.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/imagenet_90.py",
]
conversion = dict(
    T=32,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=dict(score="entropy"),
)
