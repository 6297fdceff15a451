# Digit-Masks: as the literature converts, only the backbone spikes.
_base_ = [
    "../_base_/tasks/digit_masks.py",
    "../_base_/models/digit_fcn_backbone_only.py",
    "../_base_/methods/burst.py",
]
conversion = dict(T=8, max_spikes=4)
