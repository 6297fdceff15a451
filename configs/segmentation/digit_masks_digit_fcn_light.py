# Digit-Masks: binary spikes with light calibration, head included.
_base_ = [
    "../_base_/tasks/digit_masks.py",
    "../_base_/models/digit_fcn.py",
    "../_base_/methods/snn_calibration_light.py",
]
conversion = dict(T=16)
