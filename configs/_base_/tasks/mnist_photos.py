# The harder embedded task: coloured digits on photographs, generated; stands in for SVHN.
task = dict(type="classification2d", dataset=dict(type="mnist_photos"))
