# One small run of every embedded kind of data, in at most 40 seconds: does everything work here?
#
# Too few test samples to rank anything; `adacal matrix embedded` is the benchmark.
tasks = [
    "mnist5k",
    "dvs_mnist_stream",
    "mnist_points",
    "mnist_points_parts",
    "digit_scenes",
    "digit_masks",
]
models = [
    "lenet",
    "vgg_small",
    "pointnet_small",
    "pointnet_parts_small",
    "digit_atss",
    "digit_fcn",
]
methods = ["ann", "snn_calibration_light", "burst"]
T = [4]
seeds = [0]
calibration = dict(n_samples=32)
evaluation = dict(batch_size=50, latency_repeats=1)
cells = [
    dict(when=dict(task=["mnist5k", "dvs*"]), set=dict(task=dict(max_test_samples=100))),
    dict(
        when=dict(task="mnist_points*"),
        set=dict(task=dict(max_test_samples=50), calibration=dict(n_samples=16)),
    ),
    dict(
        when=dict(task=["digit_scenes", "digit_masks"]),
        set=dict(
            task=dict(dataset=dict(train_images=100, test_images=50)),
            calibration=dict(n_samples=16),
        ),
    ),
]
exclude = [
    dict(task="mnist5k", model=["vgg_small", "pointnet*", "digit*"]),
    dict(task="dvs_mnist_stream", model=["lenet", "pointnet*", "digit*"]),
    dict(task="mnist_points", model=["lenet", "vgg_small", "pointnet_parts*", "digit*"]),
    dict(task="mnist_points_parts", model=["lenet", "vgg_small", "pointnet_small", "digit*"]),
    dict(task="digit_scenes", model=["lenet", "vgg_small", "pointnet*", "digit_fcn"]),
    dict(task="digit_masks", model=["lenet", "vgg_small", "pointnet*", "digit_atss"]),
]
