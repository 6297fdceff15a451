# N-MNIST, as one image of counts; --cfg-options task.dataset.root=FOLDER
task = dict(type="events", mode="static", dataset=dict(type="n_mnist", root="data/n_mnist"))
