# The same PointNet with an average over the points, as the Adaptive Calibration code has it.
_base_ = ["pointnet_small.py"]
model = dict(name="pointnet_small_mean", pool="mean")
