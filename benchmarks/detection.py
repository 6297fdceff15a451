# Detection: a small detector converted whole and, as most of the literature does, backbone only.
#
# A cell costs T forwards of the test images, so the first 250 of 1,000 are used; other φ than 4 run
# with one seed, and they, SSC and rate-distortion thresholds stop at T=8. About 30 minutes on one
# core.
tasks = [dict(name="digit_scenes", max_test_samples=250)]
models = ["digit_atss", "digit_atss_backbone_only"]
methods = [
    "ann",
    "quantized_ann",
    "snn_calibration_light",
    dict(name="burst", max_spikes=2),
    "burst",
    dict(name="burst", max_spikes=8),
    "adafire",
    "adafire_ssc",
    dict(name="rate_distortion", budget=1),
    "rate_distortion",
]
T = [2, 4, 8, 16]
seeds = [0, 1, 2]
calibration = dict(n_samples=64)
evaluation = dict(batch_size=25, latency_repeats=2)
exclude = [
    dict(method=["burst(max_spikes=2)", "burst(max_spikes=8)", "quantized_ann"], seed=[1, 2]),
    dict(T=16, method=["burst(max_spikes=2)", "burst(max_spikes=8)"]),
    dict(T=[2, 16], method="adafire_ssc"),
    dict(T=16, method="rate*"),
    dict(model="digit_atss_backbone_only", method="rate*"),
]
