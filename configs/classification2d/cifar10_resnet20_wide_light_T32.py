# CIFAR-10, ResNet-20, SNN Calibration light at the same T.
_base_ = [
    "../_base_/tasks/cifar10.py",
    "../_base_/models/resnet20_wide.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/cifar_200.py",
]
conversion = dict(T=32)
