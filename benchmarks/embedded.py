# The benchmark that runs anywhere: all embedded sets, small networks, in about 11 minutes.
#
# LeNet costs next to nothing: it takes all methods that convert an ordinary network, at T=2 and 4
# with three seeds. Elsewhere a cell costs T forwards of the test set, so there the main methods run
# at few steps with one seed. Everything else is in matrices of its own: `resnet20`, `events`,
# `points`, `points_parts`, `detection`, `segmentation`; `contenders` has every method on every
# task, `qcfs` the networks trained for spikes.
tasks = [
    "mnist5k",
    "mnist_photos",
    "dvs_mnist_stream",
    "mnist_points",
    "mnist_points_parts",
    dict(name="digit_scenes", max_test_samples=250),
    "digit_masks",
]
models = [
    "lenet",
    "vgg_small",
    "resnet20",
    "pointnet_small",
    "pointnet_parts_small",
    "digit_atss",
    "digit_fcn",
]
methods = [
    "ann",
    dict(name="quantized_ann", max_spikes=1),
    "quantized_ann",
    "max_norm",
    "percentile_norm",
    dict(name="snn_calibration_light", threshold="mmse", repeats=1),
    "snn_calibration_light",
    "snn_calibration_advanced",
    "srp",
    "cos",
    "snm",
    "burst_lipooling",
    "multi_threshold",
    "dcgs",
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
        when=dict(task="mnist_points*"),
        set=dict(calibration=dict(n_samples=64), evaluation=dict(batch_size=50)),
    ),
    dict(
        when=dict(task=["digit_scenes", "digit_masks"]),
        set=dict(calibration=dict(n_samples=64), evaluation=dict(batch_size=25)),
    ),
]
exclude = [
    # which network belongs to which set
    dict(task=["mnist5k", "mnist_photos"], model=["pointnet*", "digit*"]),
    dict(task="dvs_mnist_stream", model=["lenet", "resnet20", "pointnet*", "digit*"]),
    dict(task="mnist_points", model=["lenet", "vgg*", "resnet20", "pointnet_parts*", "digit*"]),
    dict(
        task="mnist_points_parts", model=["lenet", "vgg*", "resnet20", "pointnet_small", "digit*"]
    ),
    dict(task="digit_scenes", model=["lenet", "vgg*", "resnet20", "point*", "digit_fcn"]),
    dict(task="digit_masks", model=["lenet", "vgg*", "resnet20", "point*", "digit_atss"]),
    # LeNet: at T=8 only what the figures need
    dict(
        model="lenet",
        T=8,
        method=[
            "*norm",
            "*mmse*",
            "*advanced",
            "*ssc",
            "burst(max_spikes=2)",
            "srp",
            "cos",
            "snm*",
            "burst_lip*",
            "multi*",
            "dcgs*",
        ],
    ),
    # the others: one seed, few steps, the main methods
    dict(model=["resnet20", "vgg*", "point*", "digit*"], seed=[1, 2]),
    dict(model=["resnet20", "vgg*", "point*", "digit*"], T=8),
    dict(
        model=["resnet20", "vgg*", "point*", "digit*"],
        method=["srp", "cos", "snm*", "burst_lip*", "multi*", "dcgs*"],
    ),
    dict(model=["resnet20", "vgg*"], method="*advanced"),
    dict(model=["resnet20", "vgg*"], T=4, method=["*norm", "*ssc"]),
    dict(model="vgg*", method=["*ssc", "*mmse*"]),
    dict(model="resnet20", task="mnist5k", method="rate*"),
    dict(model="resnet20", T=4, method="rate*"),
    dict(model="vgg*", T=4, method="ada*"),
    dict(model=["vgg*", "point*"], method="rate*"),
    dict(task=["dvs*", "mnist_points*"], method=["quantized*", "*norm", "*mmse*", "*advanced"]),
    dict(task=["dvs*", "mnist_points*"], method=["burst(max_spikes=2)", "*ssc*"]),
    dict(task="mnist_points", method="*agreement*"),
    dict(task="mnist_points", T=4, method="adaptive*"),
    dict(task="mnist_points_parts", method="ada*"),
    dict(task="mnist_points_parts", T=2),
    dict(model="digit*", method=["quantized_ann(max_spikes=1)", "*norm", "*mmse*", "*advanced"]),
    dict(model="digit*", method=["*ssc*", "adaptive*", "rate_distortion(budget=[12]*"]),
    dict(model="digit*", T=2, method=["adafire", "rate*"]),
]
