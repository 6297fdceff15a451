# A PointNet small enough to ship and train here, a maximum over the points (0.06 M weights).
model = dict(
    name="pointnet_small",
    type="pointnet",
    local_widths=(64, 64),
    widths=(256,),
    hidden=(128, 64),
    dropout=0.0,
)
