# LeNet with activations of 4 levels above 0 (QCFS), fine-tuned from lenet.
model = dict(
    name="lenet_qcfs4",
    type="qcfs",
    levels=4,
    network=dict(type="lenet"),
    base="lenet",
    schedule=dict(epochs=20, lr=0.02, warmup=0.1),
)
