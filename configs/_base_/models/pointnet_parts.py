# PointNet for parts, without alignment networks, as wide as published, a maximum over the points.
model = dict(name="pointnet_parts", type="pointnet_parts")
