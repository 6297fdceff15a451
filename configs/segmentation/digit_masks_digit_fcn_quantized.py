# Digit-Masks: the control of burst at T=8, φ=4: activations of 33 levels, no spikes.
_base_ = [
    "../_base_/tasks/digit_masks.py",
    "../_base_/models/digit_fcn.py",
    "../_base_/methods/quantized_ann.py",
]
conversion = dict(T=8, max_spikes=4)
