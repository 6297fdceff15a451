# Digit-Masks: few steps, bursts of up to four spikes, head included.
_base_ = [
    "../_base_/tasks/digit_masks.py",
    "../_base_/models/digit_fcn.py",
    "../_base_/methods/burst.py",
]
conversion = dict(T=8, max_spikes=4)
