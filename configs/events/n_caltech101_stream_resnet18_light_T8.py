# N-Caltech101, streamed: ResNet-18, SNN Calibration light, binary spikes, T=8.
_base_ = [
    "../_base_/tasks/n_caltech101_stream.py",
    "../_base_/models/resnet18_events.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/events_100.py",
]
conversion = dict(T=8)
# Large frames: 8 steps of them at once fill the memory.
calibration = dict(n_samples=64)
evaluation = dict(batch_size=16)
