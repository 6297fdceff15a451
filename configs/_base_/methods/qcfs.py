# Rival: thresholds from training with quantised activations (Bu et al. 2022); needs such a network.
method = dict(type="qcfs")
