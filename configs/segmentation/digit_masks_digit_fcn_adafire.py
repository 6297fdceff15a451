# Digit-Masks: φ per layer under the budget of a uniform φ of 4.
_base_ = [
    "../_base_/tasks/digit_masks.py",
    "../_base_/models/digit_fcn.py",
    "../_base_/methods/adafire.py",
]
conversion = dict(T=8, max_spikes=(1, 8), budget=4, ratio=1.0)
