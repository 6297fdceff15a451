# MNIST-Photos: QCFS on resnet20 trained from scratch with 4 levels above 0, binary spikes.
_base_ = [
    "../_base_/tasks/mnist_photos.py",
    "../_base_/models/resnet20_qcfs4_scratch.py",
    "../_base_/methods/qcfs.py",
    "../_base_/schedules/embedded_15.py",
]
conversion = dict(T=4)
model = dict(schedule=dict(epochs=40))  # four times the samples
