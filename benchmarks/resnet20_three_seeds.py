# ResNet-20 on both embedded sets with three calibration seeds: what the claims of the docs rest on.
tasks = ["mnist5k", "mnist_photos"]
models = ["resnet20"]
methods = [
    "ann",
    dict(name="quantized_ann", max_spikes=1),
    "quantized_ann",
    "snn_calibration_light",
    dict(name="burst", max_spikes=2),
    "burst",
    dict(name="adafire", budget=2),
    dict(name="adafire", budget=2, sensitivity="exact"),
    "adafire",
    dict(name="adafire", sensitivity="exact"),
    "adaptive_calibration",
]
T = [2, 4, 8, 32]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=3)
exclude = [
    dict(T=8, method=["quantized_ann*", "burst*", "adafire*", "adaptive*"]),
    dict(T=32, method=["quantized_ann*", "burst*", "adafire*", "adaptive*"]),
    dict(T=32, seed=[1, 2]),
]
