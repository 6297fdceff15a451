# Rival: differential coding (Huang et al. 2025), neurons of 4 thresholds that send changes.
method = dict(type="dcgs", levels=4, level=0.999)
