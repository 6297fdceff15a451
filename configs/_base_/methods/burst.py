# Burst neurons, the same φ everywhere, light calibration.
method = dict(type="burst", max_spikes=4)
