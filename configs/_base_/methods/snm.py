# Rival: signed neurons with memory (Wang et al. 2022), thresholds as published.
method = dict(type="snm", threshold="max", half_threshold=False)
