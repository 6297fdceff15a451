# The rivals beside ours on both embedded image sets: same ANNs, same samples, three seeds.
#
# `srp` and `cos` run 4 steps of warm-up before the T of their rows; these are counted and paid.
# Of `snm` stand both readings: as published, and with the thresholds and starts of ours.
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
    dict(name="burst_lipooling", per_channel=True, shrink_above_one=False),
    "multi_threshold",
    "dcgs",
    dict(name="burst", max_spikes=2),
    "burst",
    "adafire",
    "adaptive_calibration",
]
T = [1, 2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
