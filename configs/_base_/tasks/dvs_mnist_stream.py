# The embedded event task: simulated recordings of MNIST-5k, streamed, another bin each step.
task = dict(type="events", mode="stream", dataset=dict(type="dvs_mnist"))
