# CIFAR10-DVS, streamed: ResNet-18, SNN Calibration light, binary spikes, T=8.
_base_ = [
    "../_base_/tasks/cifar10_dvs_stream.py",
    "../_base_/models/resnet18_events.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/events_100.py",
]
conversion = dict(T=8)
