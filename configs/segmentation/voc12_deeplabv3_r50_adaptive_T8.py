# VOC 2012, DeepLabV3-R50: Adaptive Calibration, mean φ of 4, T=8.
_base_ = [
    "../_base_/tasks/voc12.py",
    "../_base_/models/deeplabv3_r50_voc12.py",
    "../_base_/methods/adaptive_calibration.py",
]
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=None,
)
calibration = dict(n_samples=8)
evaluation = dict(batch_size=1, latency_repeats=1)
