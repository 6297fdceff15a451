# Event recordings, streamed and as one image: the same network, the same recordings.
tasks = ["dvs_mnist_stream", "dvs_mnist_static"]
models = ["vgg_small"]
methods = [
    "ann",
    "snn_calibration_light",
    "burst",
    "adafire",
    "adaptive_calibration",
]
T = [1, 2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
exclude = [dict(T=1, method="adaptive_calibration")]
