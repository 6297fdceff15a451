# N-MNIST, streamed; --cfg-options task.dataset.root=FOLDER
task = dict(type="events", mode="stream", dataset=dict(type="n_mnist", root="data/n_mnist"))
