# Parts of point clouds: every point is told apart, so no cloud can leave early.
tasks = ["mnist_points_parts"]
models = ["pointnet_parts_small"]
methods = ["ann", "quantized_ann", "snn_calibration_light", "burst"]
T = [1, 2, 4, 8]
seeds = [0, 1, 2]
calibration = dict(n_samples=64)
evaluation = dict(batch_size=50, latency_repeats=2)
exclude = [dict(T=[1, 2, 4], method="quantized_ann")]
