# VOC 07+12, YOLOv3 of which only the backbone spikes, as in the paper's detectors.
_base_ = [
    "../_base_/tasks/voc.py",
    "../_base_/models/yolov3_voc.py",
    "../_base_/methods/adaptive_calibration.py",
]
# images as this model reads them, at 416 pixels
task = dict(dataset=dict(config="yolov3_d53_voc0712"))
model = dict(backbone_only=True)
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=None,
)
calibration = dict(n_samples=16)
evaluation = dict(batch_size=4, latency_repeats=1)
