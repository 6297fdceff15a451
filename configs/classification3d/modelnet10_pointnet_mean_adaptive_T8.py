# ModelNet10, PointNet with mean pooling, Adaptive Calibration at T=8, φ up to 8.
_base_ = [
    "../_base_/tasks/modelnet10.py",
    "../_base_/models/pointnet_mean.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/points_200.py",
]
conversion = dict(
    T=8,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=dict(score="entropy"),
)
# A sample has as many rows as points: 128 at once would need tens of GB.
calibration = dict(n_samples=16)
evaluation = dict(batch_size=16)
