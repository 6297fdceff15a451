# The 16 classes of ShapeNetPart, 2,500 points a cloud; folder: --cfg-options task.dataset.root=…
task = dict(
    type="classification3d",
    dataset=dict(type="shapenet_part", root="data", num_points=2500),
)
