# Rival: neurons of 4 thresholds and signed spikes (the neuron of DCGS, Huang et al. 2025).
method = dict(type="multi_threshold", levels=4, level=0.999)
