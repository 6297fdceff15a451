# N-Cars, streamed; --cfg-options task.dataset.root=FOLDER
task = dict(type="events", mode="stream", dataset=dict(type="n_cars", root="data/n_cars"))
