# The embedded task on point clouds: MNIST-5k as flat clouds of 1,024 points.
task = dict(type="classification3d", dataset=dict(type="mnist_points", training_points=256))
