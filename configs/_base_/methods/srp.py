# Rival: residual membrane potential (Hao et al. 2023); the 4 steps of the warm-up come before T.
method = dict(type="srp", warmup=4)
