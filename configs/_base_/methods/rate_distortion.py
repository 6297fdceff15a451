# Thresholds of every channel chosen within the cost of a uniform φ.
method = dict(type="rate_distortion", budget=4)
