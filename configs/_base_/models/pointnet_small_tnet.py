# The same PointNet with a small T-Net, which aligns the points before the first layer (0.07 M).
_base_ = ["pointnet_small.py"]
model = dict(
    name="pointnet_small_tnet",
    input_transform=True,
    transform_widths=(32, 64),
    transform_hidden=(32,),
)
