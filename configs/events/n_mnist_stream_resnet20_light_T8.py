# N-MNIST, streamed: ResNet-20, SNN Calibration light, binary spikes, T=8.
_base_ = [
    "../_base_/tasks/n_mnist_stream.py",
    "../_base_/models/resnet20.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=8)
