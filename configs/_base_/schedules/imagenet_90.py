# The usual ImageNet recipe, one cycle; wants a GPU.
schedule = dict(epochs=90, batch_size=256, lr=0.1, weight_decay=1e-4)
