# The benchmark that runs anywhere: both embedded sets, three networks, all methods, in minutes.
#
# LeNet costs next to nothing: every method, T and seed. The others run one seed at few steps, since
# a run costs T forwards of the test set; `adacal matrix resnet20` has the seeds and steps of
# ResNet-20. The whole grid here: --cfg-options exclude=[]
tasks = ["mnist5k", "mnist_photos"]
models = ["lenet", "vgg_small", "resnet20"]
methods = [
    "ann",
    dict(name="quantized_ann", max_spikes=1),
    "quantized_ann",
    "max_norm",
    "percentile_norm",
    dict(name="snn_calibration_light", threshold="mmse", repeats=1),
    "snn_calibration_light",
    "snn_calibration_advanced",
    dict(name="burst", max_spikes=2),
    "burst",
    "adafire",
    "adafire_ssc",
    "adaptive_calibration",
    dict(name="adaptive_calibration", iat=dict(rule="agreement")),
]
T = [2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
exclude = [
    dict(model=["resnet20", "vgg_small"], seed=[1, 2]),
    dict(model=["resnet20", "vgg_small"], T=8),
    dict(model=["resnet20", "vgg_small"], T=4, method=["max_norm", "percentile_norm", "*advanced"]),
    dict(model=["vgg_small"], T=4, method=["ada*"]),
    dict(model=["resnet20", "vgg_small"], task="mnist5k", method="*advanced"),
]
