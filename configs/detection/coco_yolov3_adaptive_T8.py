# COCO, YOLOv3 with signed neurons: Adaptive Calibration, mean φ of 4, T=8.
_base_ = [
    "../_base_/tasks/coco.py",
    "../_base_/models/yolov3_coco.py",
    "../_base_/methods/adaptive_calibration.py",
]
# images as this model reads them, at 416 pixels
task = dict(dataset=dict(config="yolo/yolov3_d53_8xb8-ms-416-273e_coco"))
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=None,
)
calibration = dict(n_samples=16)
evaluation = dict(batch_size=4, latency_repeats=1)
