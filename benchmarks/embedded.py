# The benchmark that runs anywhere: both embedded sets, two networks, all methods, in minutes.
#
# LeNet costs next to nothing: every method, T and seed. ResNet-20 runs one seed at
# few steps, since a run costs T forwards of the test set. `adacal matrix resnet20` has its seeds
# and steps; the whole grid here: --cfg-options exclude=[]
tasks = ["mnist5k", "mnist_photos"]
models = ["lenet", "resnet20"]
methods = [
    "ann",
    dict(name="quantized_ann", max_spikes=1),
    "quantized_ann",
    "max_norm",
    "percentile_norm",
    "snn_calibration_light",
    "snn_calibration_advanced",
    dict(name="burst", max_spikes=2),
    "burst",
    "adafire",
    "adafire_ssc",
    "adaptive_calibration",
    dict(name="adaptive_calibration", iat=dict(rule="accuracy")),
]
T = [2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
exclude = [
    dict(model=["resnet20"], seed=[1, 2]),
    dict(model=["resnet20"], T=8),
    dict(model=["resnet20"], T=4, method=["max_norm", "percentile_norm", "*advanced", "ada*"]),
    dict(model=["resnet20"], task="mnist5k", method="*advanced"),
]
