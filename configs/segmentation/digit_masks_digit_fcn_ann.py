# Digit-Masks: the trained segmentor itself.
_base_ = [
    "../_base_/tasks/digit_masks.py",
    "../_base_/models/digit_fcn.py",
    "../_base_/methods/ann.py",
]
conversion = dict(T=1)
