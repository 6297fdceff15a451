# Trains a small PointNet on the embedded clouds, on one core in minutes.
schedule = dict(epochs=24, batch_size=32, lr=0.1, weight_decay=1e-4)
