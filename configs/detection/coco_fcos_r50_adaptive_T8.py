# COCO, FCOS-R50 at the T=8 of Huang et al. 2025: Adaptive Calibration.
_base_ = [
    "../_base_/tasks/coco.py",
    "../_base_/models/fcos_r50_coco.py",
    "../_base_/methods/adaptive_calibration.py",
]
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=None,
)
calibration = dict(n_samples=8)
evaluation = dict(batch_size=1, latency_repeats=1)
