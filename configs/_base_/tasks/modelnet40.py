# ModelNet40's meshes as clouds of 1,024 points; folder: --cfg-options task.dataset.root=…
task = dict(
    type="classification3d",
    dataset=dict(type="modelnet40", root="data", num_points=1024),
)
