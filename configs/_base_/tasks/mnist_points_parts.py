# The same clouds, point by point: strokes, their ends, junctions and loops.
task = dict(type="part_segmentation3d", dataset=dict(type="mnist_points", training_points=256))
