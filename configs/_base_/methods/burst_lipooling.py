# Rival: burst spikes as published (Li & Zeng 2022), without calibration.
method = dict(type="burst_lipooling", max_spikes=5, level=0.999)
