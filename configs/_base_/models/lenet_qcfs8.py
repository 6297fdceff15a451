# LeNet with activations of 8 levels above 0 (QCFS), fine-tuned from lenet.
model = dict(
    name="lenet_qcfs8",
    type="qcfs",
    levels=8,
    network=dict(type="lenet"),
    base="lenet",
    schedule=dict(epochs=20, lr=0.02, warmup=0.1),
)
