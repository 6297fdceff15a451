# COCO, RetinaNet-R50 at the T=32 of Bu et al. 2025: SNN Calibration light.
_base_ = [
    "../_base_/tasks/coco.py",
    "../_base_/models/retinanet_r50_coco.py",
    "../_base_/methods/snn_calibration_light.py",
]
conversion = dict(T=32)
calibration = dict(n_samples=4)
evaluation = dict(batch_size=1, latency_repeats=1)
