# PointNet without alignment networks, as wide as published, a maximum over the points.
model = dict(name="pointnet", type="pointnet")
