# ShapeNetPart, PointNet for parts with mean pooling, Adaptive Calibration at T=16, φ up to 8.
# All points of a cloud take T steps: exit rules decide by one class a sample.
_base_ = [
    "../_base_/tasks/shapenet_part.py",
    "../_base_/models/pointnet_parts_mean.py",
    "../_base_/methods/adaptive_calibration.py",
    "../_base_/schedules/points_200.py",
]
conversion = dict(
    T=16,
    adafire=dict(max_spikes=(1, 8), budget=4),
    iat=None,
)
# A sample has as many rows as points: 128 at once would need tens of GB.
calibration = dict(n_samples=16)
evaluation = dict(batch_size=16)
