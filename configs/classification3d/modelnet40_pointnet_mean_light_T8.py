# ModelNet40, PointNet with mean pooling, SNN Calibration light at T=8.
_base_ = [
    "../_base_/tasks/modelnet40.py",
    "../_base_/models/pointnet_mean.py",
    "../_base_/methods/snn_calibration_light.py",
    "../_base_/schedules/points_200.py",
]
conversion = dict(T=8)
# A sample has as many rows as points: 128 at once would need tens of GB.
calibration = dict(n_samples=16)
evaluation = dict(batch_size=16)
