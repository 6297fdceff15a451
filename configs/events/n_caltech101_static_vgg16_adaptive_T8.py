# N-Caltech101, as one image: VGG-16, Adaptive Calibration, mean φ of 4, T=8.
_base_ = [
    "../_base_/tasks/n_caltech101_static.py",
    "../_base_/models/vgg16_events.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/events_100.py",
]
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=dict(score="entropy"),
)
# Large frames: 8 steps of them at once fill the memory.
calibration = dict(n_samples=64)
evaluation = dict(batch_size=16)
