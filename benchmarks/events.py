# Event recordings, streamed and as one image: the same network, the same recordings.
#
# `burst` is light calibration with bursts of 4. A stream at T=6 ends a step at 100, 200 and 300 ms.
tasks = ["dvs_mnist_stream", "dvs_mnist_static"]
models = ["vgg_small"]
methods = [
    "ann",
    "quantized_ann",
    "max_norm",
    "percentile_norm",
    "snn_calibration_light",
    "snn_calibration_advanced",
    "burst",
    "adafire",
    "adafire_ssc",
    "adaptive_calibration",
    dict(name="adaptive_calibration", iat=dict(rule="agreement")),
]
T = [1, 2, 4, 6, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
exclude = [
    dict(method=["max_norm", "percentile_norm"], seed=[1, 2]),
    dict(method=["max_norm", "percentile_norm"], T=6),
    dict(method="snn_calibration_advanced", T=[1, 2, 6]),
    dict(method="adafire_ssc", T=[1, 6]),
    dict(method="adafire_ssc", task="dvs_mnist_static"),
    dict(T=1, method="adaptive_calibration*"),
    dict(task="dvs_mnist_static", T=6),
    dict(method="quantized_ann", T=[1, 2, 6]),
]
