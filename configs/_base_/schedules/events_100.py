# Event sets: 100 epochs of small batches, files read anew in each; wants a GPU.
schedule = dict(epochs=100, batch_size=32, lr=0.05, weight_decay=5e-4)
