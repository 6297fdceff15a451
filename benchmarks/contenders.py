# All methods beside each other on all embedded tasks: same ANNs, same samples, three seeds.
#
# `srp` and `cos` run 4 steps of warm-up before the T of their rows; these are counted and paid, and
# a stream of events has none to give. `snm` and `dcgs` stand as published (`dcgs` with the paper's
# iterated thresholds) and with others as well, advanced calibration with the paper's settings on
# LeNet only. Exit is by agreement where the output is logits, by change elsewhere. The ANN with the
# thresholds of `rate_distortion` run bit by bit is the control that those have to beat.
# On two cores some six hours.
tasks = [
    "mnist5k",
    "mnist_photos",
    "dvs_mnist_stream",
    "mnist_points",
    dict(name="digit_scenes", max_test_samples=250),
    "digit_masks",
]
models = ["lenet", "resnet20", "vgg_small", "pointnet_small", "digit_atss", "digit_fcn"]
methods = [
    "ann",
    dict(name="quantized_ann", max_spikes=1),
    "quantized_ann",
    dict(name="quantized_ann", max_spikes=1, thresholds="rate_distortion"),
    dict(name="quantized_ann", max_spikes=2, thresholds="rate_distortion"),
    dict(name="quantized_ann", thresholds="rate_distortion"),
    dict(name="quantized_ann", max_spikes=8, thresholds="rate_distortion"),
    "percentile_norm",
    "snn_calibration_light",
    dict(
        name="snn_calibration_advanced",
        iterations=5000,
        learning_rate=4e-5,
        potential_share=1.0,
    ),
    "srp",
    "cos",
    "snm",
    dict(name="snm", threshold="mmse", half_threshold=True),
    "burst_lipooling",
    "multi_threshold",
    "dcgs",
    dict(name="dcgs", threshold="iterated"),
    dict(name="dcgs", threshold="mmse"),
    dict(name="burst", max_spikes=2),
    "burst",
    "adafire",
    dict(name="rate_distortion", budget=1, ratio=0.5),
    dict(name="rate_distortion", budget=1),
    dict(name="rate_distortion", budget=2),
    "rate_distortion",
    dict(name="rate_distortion", budget=1, iat=dict(rule="agreement")),
    dict(name="rate_distortion", budget=2, iat=dict(rule="agreement")),
    dict(name="rate_distortion", iat=dict(rule="agreement")),
    dict(name="rate_distortion", iat=dict(rule="change")),
    "adaptive_calibration",
    dict(name="adaptive_calibration", iat=dict(rule="change")),
]
T = [1, 2, 4, 8]
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
    dict(T=[2, 4, 8], method="quantized_ann*rate_distortion*"),
    dict(
        model=["resnet20", "vgg_small", "pointnet_small", "digit*"],
        method="snn_calibration_advanced*",
    ),
    dict(T=[1, 8], method="snn_calibration_advanced*"),
    dict(task=["mnist*", "dvs_mnist_stream"], model=["digit_atss", "digit_fcn"]),
    dict(task=["mnist5k", "mnist_photos"], model=["vgg_small", "pointnet_small"]),
    dict(task="dvs_mnist_stream", model=["lenet", "resnet20", "pointnet_small"]),
    dict(task="mnist_points", model=["lenet", "resnet20", "vgg_small"]),
    dict(task=["digit_scenes", "digit_masks"], model=["lenet", "resnet20", "vgg_small", "point*"]),
    dict(task="digit_scenes", model="digit_fcn"),
    dict(task="digit_masks", model="digit_atss"),
    dict(task="dvs_mnist_stream", method=["srp", "cos"]),
    dict(task=["digit_scenes", "digit_masks"], method=["adaptive_calibration", "*agreement*"]),
    dict(task=["mnist*", "dvs_mnist_stream"], method="*change*"),
    dict(T=1, method=["adaptive_calibration*", "*iat*"]),
    dict(T=2, method="*change*"),
]
