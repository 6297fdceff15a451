# Digit-Scenes: binary spikes with light calibration, the whole detector.
_base_ = [
    "../_base_/tasks/digit_scenes.py",
    "../_base_/models/digit_atss.py",
    "../_base_/methods/snn_calibration_light.py",
]
conversion = dict(T=8)
calibration = dict(n_samples=64)
evaluation = dict(batch_size=25)
