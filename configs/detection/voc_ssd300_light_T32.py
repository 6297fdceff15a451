# VOC 07+12, SSD300: SNN Calibration light, one spike a step, T=32.
_base_ = [
    "../_base_/tasks/voc.py",
    "../_base_/models/ssd300_voc.py",
    "../_base_/methods/snn_calibration_light.py",
]
# images as this model reads them, at 300 pixels
task = dict(dataset=dict(config="pascal_voc/ssd300_voc0712"))
conversion = dict(T=32)
calibration = dict(n_samples=16)
evaluation = dict(batch_size=4, latency_repeats=1)
