# SNN Calibration, light: least-squares thresholds and corrected channel means.
method = dict(type="snn_calibration_light")
