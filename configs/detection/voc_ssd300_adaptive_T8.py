# VOC 07+12, SSD300: Adaptive Calibration, mean φ of 4, T=8.
_base_ = [
    "../_base_/tasks/voc.py",
    "../_base_/models/ssd300_voc.py",
    "../_base_/methods/adaptive_calibration.py",
]
# images as this model reads them, at 300 pixels
task = dict(dataset=dict(config="pascal_voc/ssd300_voc0712"))
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=None,
)
calibration = dict(n_samples=16)
evaluation = dict(batch_size=4, latency_repeats=1)
