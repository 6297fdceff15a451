# The same PointNet with an average over the points, as the Adaptive Calibration code has it.
_base_ = ["pointnet.py"]
model = dict(name="pointnet_mean", pool="mean")
