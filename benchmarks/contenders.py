# The rivals beside ours on both embedded image sets: same ANNs, same samples, three seeds.
#
# `srp` and `cos` run 4 steps of warm-up before the T of their rows; these are counted and paid.
# `snm` and `dcgs` stand as published and with thresholds of least squared error as well.
tasks = ["mnist5k", "mnist_photos"]
models = ["lenet", "resnet20"]
methods = [
    "ann",
    dict(name="quantized_ann", max_spikes=1),
    "quantized_ann",
    "percentile_norm",
    "snn_calibration_light",
    "srp",
    "cos",
    "snm",
    dict(name="snm", threshold="mmse", half_threshold=True),
    "burst_lipooling",
    "multi_threshold",
    "dcgs",
    dict(name="dcgs", threshold="mmse"),
    dict(name="burst", max_spikes=2),
    "burst",
    "adafire",
    "rate_distortion",
    "adaptive_calibration",
]
T = [1, 2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
