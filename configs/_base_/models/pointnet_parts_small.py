# The small PointNet that tells the part of every point (0.07 M weights).
model = dict(
    name="pointnet_parts_small",
    type="pointnet_parts",
    local_widths=(64, 64),
    widths=(256,),
    hidden=(128, 64),
)
