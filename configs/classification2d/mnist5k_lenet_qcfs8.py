# MNIST-5k: QCFS on lenet, activations of 8 levels above 0 from training on, binary spikes.
_base_ = [
    "../_base_/tasks/mnist5k.py",
    "../_base_/models/lenet_qcfs8.py",
    "../_base_/methods/qcfs.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=4)
