# The benchmark that runs anywhere: both embedded sets, three networks, all methods, in minutes.
#
# ResNet-20 is measured in full. The two small networks show whether an order of methods carries
# over, with one seed. For the whole grid: --cfg-options exclude=[]
tasks = ["mnist5k", "mnist_photos"]
models = ["lenet", "vgg_small", "resnet20"]
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
]
T = [2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=3)
exclude = [
    dict(model=["lenet", "vgg_small"], seed=[1, 2]),
    dict(model=["lenet", "vgg_small"], T=[2, 8]),
]
