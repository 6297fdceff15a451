# N-Caltech101, streamed; --cfg-options task.dataset.root=FOLDER
task = dict(
    type="events", mode="stream", dataset=dict(type="n_caltech101", root="data/n_caltech101")
)
