# Trains ResNet-20 or VGG-small on an embedded set, on two cores in minutes.
schedule = dict(epochs=15, batch_size=64, lr=0.1, weight_decay=5e-4)
