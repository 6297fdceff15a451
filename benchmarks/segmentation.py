# Segmentation: the embedded set, the network converted whole and its backbone only.
#
# Searches (adafire, adafire_ssc) cost many times a calibration, so they run at two T.
tasks = ["digit_masks"]
models = ["digit_fcn", "digit_fcn_backbone_only"]
methods = [
    "ann",
    "quantized_ann",
    "snn_calibration_light",
    dict(name="burst", max_spikes=2),
    "burst",
    dict(name="burst", max_spikes=8),
    "adafire",
    "adafire_ssc",
]
T = [2, 4, 8, 16]
seeds = [0, 1, 2]
calibration = dict(n_samples=64)
evaluation = dict(batch_size=50, latency_repeats=2)
exclude = [
    dict(T=[2, 16], method=["adafire*"]),
    dict(T=[2, 4, 16], method="quantized_ann"),
    dict(model="digit_fcn_backbone_only", method="burst(max_spikes=[28])"),
]
