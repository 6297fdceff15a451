# Networks retrained with quantised activations (QCFS), and what rivals and our own make of them.
#
# `qcfs` looks at no sample, so one seed says all; `srp` and `cos` use samples for a note only.
# `qcfs_ann` is the network itself at its L levels, `quantized_ann` quantises it once more to T.
# Those of `scratch` are trained as published, for 300 epochs (40 of the larger set), the others
# fine-tuned. The plain networks they come from stand in contenders.py: same images and metric.
tasks = ["mnist5k", "mnist_photos"]
models = [
    "lenet_qcfs4",
    "lenet_qcfs8",
    "resnet20_qcfs4",
    "resnet20_qcfs8",
    "resnet20_qcfs4_scratch",
    "resnet20_qcfs8_scratch",
]
methods = [
    "ann",
    "qcfs_ann",
    dict(name="quantized_ann", max_spikes=1),
    "qcfs",
    dict(name="srp", threshold="trained"),
    dict(name="cos", threshold="trained"),
    "snn_calibration_light",
    "burst",
    dict(name="rate_distortion", budget=1),
    dict(name="rate_distortion", budget=2),
    "rate_distortion",
]
T = [1, 2, 4, 8, 16, 32]
seeds = [0]
exclude = [
    dict(T=[16, 32], method=["srp*", "cos*", "quantized*", "snn*", "burst*", "rate*"]),
    dict(task="mnist_photos", model="resnet20_qcfs8_scratch"),
    dict(T=[4, 8], method="rate_distortion(budget*"),
    dict(model=["lenet*", "resnet20_qcfs4", "resnet20_qcfs8"], method="rate_distortion(budget*"),
    dict(  # minutes each; its sister from scratch has them
        task="mnist_photos",
        model=["resnet20_qcfs4", "resnet20_qcfs8"],
        T=[8, 16, 32],
        method=["srp*", "cos*", "quantized*", "snn*", "burst*", "rate*"],
    ),
    dict(task="mnist_photos", model=["resnet20_qcfs4", "resnet20_qcfs8"], T=[16, 32]),
]
cells = [
    dict(  # what its training took stands in the caption of its table
        when=dict(task="mnist_photos", model="resnet20_qcfs4_scratch"),
        set=dict(model=dict(schedule=dict(epochs=40))),
    ),
]
calibration = dict(n_samples=128)
evaluation = dict(batch_size=100, latency_repeats=2)
