# What ResNet-20 gives with three calibration seeds, on MNIST-5k up to T=32; about 40 minutes on two
# cores.
tasks = ["mnist5k", "mnist_photos"]
models = ["resnet20"]
methods = [
    "ann",
    dict(name="quantized_ann", max_spikes=1),
    dict(name="quantized_ann", max_spikes=2),
    dict(name="quantized_ann", max_spikes=4),
    "snn_calibration_light",
    dict(name="snn_calibration_light", threshold="mmse", repeats=1),
    dict(name="burst", max_spikes=2),
    dict(name="burst", max_spikes=4),
    dict(name="adafire", budget=2),
    dict(name="adafire", budget=4),
    dict(name="adafire", budget=2, sensitivity="exact"),
    dict(name="adafire", budget=4, sensitivity="exact"),
    "adafire_ssc",
    dict(name="adafire_ssc", ssc=dict(max_growth=None)),
    dict(name="rate_distortion", budget=1),
    dict(name="rate_distortion", budget=2),
    dict(name="rate_distortion", budget=4),
    "adaptive_calibration",
    dict(name="adaptive_calibration", iat=dict(rule="agreement")),
]
T = [2, 4, 8, 32]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
exclude = [
    dict(T=32, task="mnist_photos"),
    dict(T=32, method=["quantized_ann*", "burst*", "ada*", "rate*", "*mmse*"]),
    dict(
        T=8,
        method=[
            "ada*",
            "rate*",
            "burst*",
            "quantized_ann(max_spikes=2)",
            "quantized_ann(max_spikes=4)",
        ],
    ),
]
