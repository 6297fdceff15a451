# The detector of the embedded detection set: a small ATSS that spikes whole (0.28 M weights).
model = dict(name="digit_atss", type="openmmlab", config="digit_atss")
