# The smallest network, for the quickest runs: LeNet-5 with ReLU and average pooling.
model = dict(name="lenet", type="lenet", schedule=dict(epochs=40, lr=0.05))
