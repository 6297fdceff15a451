# COCO, YOLOX-s with ReLU, trained anew: Adaptive Calibration, mean φ of 4, T=8.
_base_ = [
    "../_base_/tasks/coco.py",
    "../_base_/models/yolox_s_relu_coco.py",
    "../_base_/methods/adaptive_calibration.py",
]
# images as this model reads them, at 640 pixels
task = dict(dataset=dict(config="yolox_s_relu_coco"))
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=None,
)
calibration = dict(n_samples=16)
evaluation = dict(batch_size=4, latency_repeats=1)
