# Rival: offset spikes (Hao et al. 2023); the 4 steps of the warm-up come before T.
method = dict(type="cos", warmup=4)
