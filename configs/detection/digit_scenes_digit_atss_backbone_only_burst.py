# Digit-Scenes: bursts in the backbone, the head analogue.
_base_ = [
    "../_base_/tasks/digit_scenes.py",
    "../_base_/models/digit_atss_backbone_only.py",
    "../_base_/methods/burst.py",
]
conversion = dict(T=8, max_spikes=4)
calibration = dict(n_samples=64)
evaluation = dict(batch_size=25)
