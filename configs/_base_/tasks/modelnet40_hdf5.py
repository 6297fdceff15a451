# ModelNet40 in PointNet's HDF5 files; folder: --cfg-options task.dataset.root=…
task = dict(
    type="classification3d",
    dataset=dict(type="modelnet40_hdf5", root="data", num_points=1024),
)
