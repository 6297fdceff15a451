# The benchmark that runs anywhere: all embedded sets, small networks, all methods, in minutes.
#
# LeNet costs next to nothing: every method, T and seed. The others run one seed at few steps, since
# a run costs T forwards of the test set; `adacal matrix resnet20` has the seeds and steps of
# ResNet-20, and `events`, `points`, `points_parts`, `detection` and `segmentation` those of theirs.
tasks = [
    "mnist5k",
    "mnist_photos",
    "dvs_mnist_stream",
    "mnist_points",
    dict(name="digit_scenes", max_test_samples=250),
    "digit_masks",
]
models = ["lenet", "vgg_small", "resnet20", "pointnet_small", "digit_atss", "digit_fcn"]
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
    dict(name="rate_distortion", budget=1),
    dict(name="rate_distortion", budget=2),
    dict(name="rate_distortion", budget=4),
    "adaptive_calibration",
    dict(name="adaptive_calibration", iat=dict(rule="agreement")),
]
T = [2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
cells = [
    dict(
        when=dict(task="mnist_points"),
        set=dict(calibration=dict(n_samples=64), evaluation=dict(batch_size=50)),
    ),
    dict(
        when=dict(task=["digit_scenes", "digit_masks"]),
        set=dict(calibration=dict(n_samples=64), evaluation=dict(batch_size=25)),
    ),
]
exclude = [
    dict(
        task=["mnist5k", "mnist_photos", "dvs_mnist_stream"],
        model=["pointnet_small", "digit_atss", "digit_fcn"],
    ),
    dict(task="mnist_points", model=["lenet", "vgg_small", "resnet20", "digit_atss", "digit_fcn"]),
    dict(task="dvs_mnist_stream", model=["lenet", "resnet20"]),
    dict(task=["digit_scenes", "digit_masks"], model=["lenet", "vgg_small", "resnet20", "point*"]),
    dict(task="digit_scenes", model="digit_fcn"),
    dict(task="digit_masks", model="digit_atss"),
    dict(task=["digit_scenes", "digit_masks"], T=8),
    dict(task=["digit_scenes", "digit_masks"], seed=[1, 2]),
    dict(
        task=["digit_scenes", "digit_masks"],
        method=["*max_spikes=1)", "*norm", "*mmse*", "*advanced", "*ssc*", "adaptive*"],
    ),
    dict(task=["digit_scenes", "digit_masks"], T=2, method="adafire"),
    dict(task=["dvs_mnist_stream", "mnist_points"], T=8),
    dict(task=["dvs_mnist_stream", "mnist_points"], seed=[1, 2]),
    dict(
        task=["dvs_mnist_stream", "mnist_points"],
        method=["quantized*", "max_norm", "percentile_norm", "*mmse*", "*advanced"],
    ),
    dict(task=["dvs_mnist_stream", "mnist_points"], method=["burst(max_spikes=2)", "*ssc*"]),
    dict(task="mnist_points", method="*agreement*"),
    dict(task=["dvs_mnist_stream", "mnist_points", "digit_scenes", "digit_masks"], method="rate*"),
    dict(model=["resnet20", "vgg_small"], seed=[1, 2]),
    dict(model=["resnet20", "vgg_small"], T=8),
    dict(model=["resnet20", "vgg_small"], T=4, method=["max_norm", "percentile_norm", "*advanced"]),
    dict(model=["vgg_small"], T=4, method="ada*"),
    dict(model="vgg_small", method="rate*"),
    dict(model="lenet", method="rate*", seed=[1, 2]),
    dict(model="resnet20", task="mnist5k", method="rate*"),
    dict(model="resnet20", T=4, method="rate*"),
    dict(model=["resnet20", "vgg_small"], task="mnist5k", method="*advanced"),
]
