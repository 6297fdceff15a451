# Digit-Masks: binary spikes in the backbone only.
_base_ = [
    "../_base_/tasks/digit_masks.py",
    "../_base_/models/digit_fcn_backbone_only.py",
    "../_base_/methods/snn_calibration_light.py",
]
conversion = dict(T=16)
