# The usual CIFAR recipe, one cycle; wants a GPU.
schedule = dict(epochs=200, batch_size=128, lr=0.1, weight_decay=5e-4)
