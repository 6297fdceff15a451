# Digit-Scenes: the control of burst at T=8, φ=4: activations of 33 levels, no spikes.
_base_ = [
    "../_base_/tasks/digit_scenes.py",
    "../_base_/models/digit_atss.py",
    "../_base_/methods/quantized_ann.py",
]
conversion = dict(T=8, max_spikes=4)
calibration = dict(n_samples=64)
evaluation = dict(batch_size=25)
