# Digit-Scenes: bursts whose length is chosen layer by layer, the whole detector.
_base_ = [
    "../_base_/tasks/digit_scenes.py",
    "../_base_/models/digit_atss.py",
    "../_base_/methods/adafire.py",
]
conversion = dict(T=8)
calibration = dict(n_samples=64)
evaluation = dict(batch_size=25)
