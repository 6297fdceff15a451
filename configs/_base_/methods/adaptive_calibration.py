# Adaptive Calibration in full: AdaFire, SSC and input-aware timesteps.
method = dict(type="adaptive_calibration")
