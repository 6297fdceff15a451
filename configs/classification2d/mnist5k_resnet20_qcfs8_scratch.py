# MNIST-5k: QCFS on resnet20 trained from scratch with 8 levels above 0, binary spikes.
_base_ = [
    "../_base_/tasks/mnist5k.py",
    "../_base_/models/resnet20_qcfs8_scratch.py",
    "../_base_/methods/qcfs.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=4)
