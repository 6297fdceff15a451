# ResNet-20 with activations of 8 levels above 0 (QCFS), trained from scratch as published.
# 300 epochs of CIFAR have 50,000 samples each; ours have fewer, and batches of 128. Wants a GPU.
model = dict(
    name="resnet20_qcfs8_scratch",
    type="qcfs",
    levels=8,
    initial_ceiling=8.0,
    network=dict(type="resnet_cifar", depth=20, width=16),
    counterpart="resnet20",
    schedule=dict(epochs=300, batch_size=128, lr=0.1, warmup=0.02),
)
