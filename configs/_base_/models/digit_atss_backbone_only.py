# The same detector with its head kept analogue, as most of the literature converts detectors.
model = dict(name="digit_atss", type="openmmlab", config="digit_atss", backbone_only=True)
