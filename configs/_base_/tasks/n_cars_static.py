# N-Cars, as one image of counts; --cfg-options task.dataset.root=FOLDER
task = dict(type="events", mode="static", dataset=dict(type="n_cars", root="data/n_cars"))
