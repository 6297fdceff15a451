# The oldest baseline: thresholds at the largest activation.
method = dict(type="max_norm")
