# The robust baseline: thresholds at a high quantile of the activation.
method = dict(type="percentile_norm")
