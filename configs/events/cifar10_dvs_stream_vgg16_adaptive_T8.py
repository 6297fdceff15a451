# CIFAR10-DVS, streamed: VGG-16, Adaptive Calibration, mean φ of 4, T=8.
_base_ = [
    "../_base_/tasks/cifar10_dvs_stream.py",
    "../_base_/models/vgg16_events.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/events_100.py",
]
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=dict(score="entropy"),
)
