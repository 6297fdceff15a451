# Digit-Scenes: the trained detector itself.
_base_ = [
    "../_base_/tasks/digit_scenes.py",
    "../_base_/models/digit_atss.py",
    "../_base_/methods/ann.py",
]
conversion = dict(T=1)
calibration = dict(n_samples=64)
evaluation = dict(batch_size=25)
