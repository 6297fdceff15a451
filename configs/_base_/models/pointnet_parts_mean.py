# The same PointNet for parts with an average over the points, as the reference has it.
_base_ = ["pointnet_parts.py"]
model = dict(name="pointnet_parts_mean", pool="mean")
