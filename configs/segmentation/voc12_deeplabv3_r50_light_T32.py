# VOC 2012, DeepLabV3-R50 at the T=32 of Bu et al. 2025: SNN Calibration light.
_base_ = [
    "../_base_/tasks/voc12.py",
    "../_base_/models/deeplabv3_r50_voc12.py",
    "../_base_/methods/snn_calibration_light.py",
]
conversion = dict(T=32)
calibration = dict(n_samples=4)
evaluation = dict(batch_size=1, latency_repeats=1)
