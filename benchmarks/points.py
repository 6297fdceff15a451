# Point clouds: the same PointNet with a maximum, with an average over the points, and with a T-Net.
#
# A calibration cloud has 1,024 rows a channel, so 64 of them are plenty, and memory holds no more.
tasks = ["mnist_points"]
models = ["pointnet_small", "pointnet_small_mean", "pointnet_small_tnet"]
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
T = [1, 2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=64)
evaluation = dict(batch_size=50, latency_repeats=2)
exclude = [
    dict(method=["max_norm", "percentile_norm"], seed=[1, 2]),
    dict(T=[1, 8], method=["ada*"]),
    dict(T=2, method="*agreement*"),
    dict(T=[1, 2], method="snn_calibration_advanced"),
    dict(T=[1, 2, 4], method="quantized_ann"),
    dict(model="pointnet_small_tnet", method=["*_norm", "ada*", "*advanced"]),
]
