# SNN Calibration, advanced: potentials and weights fitted layer by layer.
method = dict(type="snn_calibration_advanced")
