# ModelNet40 as PointNet++ resampled it; folder: --cfg-options task.dataset.root=…
task = dict(
    type="classification3d",
    dataset=dict(type="modelnet40_resampled", root="data", num_points=1024),
)
