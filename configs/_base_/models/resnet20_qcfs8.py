# ResNet-20 with activations of 8 levels above 0 (QCFS), fine-tuned from resnet20.
model = dict(
    name="resnet20_qcfs8",
    type="qcfs",
    levels=8,
    network=dict(type="resnet_cifar", depth=20, width=16),
    base="resnet20",
    schedule=dict(epochs=6, lr=0.02, warmup=0.1),
)
