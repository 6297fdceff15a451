# For full point-cloud sets, nearly as long as the paper (250 epochs); wants a GPU; not yet run.
schedule = dict(epochs=200, batch_size=32, lr=0.1, weight_decay=5e-4)
