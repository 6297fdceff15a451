# Trains a network on an embedded set, on two cores in minutes; a model may say otherwise.
schedule = dict(epochs=15, batch_size=64, lr=0.1, weight_decay=5e-4)
