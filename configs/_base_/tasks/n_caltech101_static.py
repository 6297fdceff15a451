# N-Caltech101, as one image of counts; --cfg-options task.dataset.root=FOLDER
task = dict(
    type="events", mode="static", dataset=dict(type="n_caltech101", root="data/n_caltech101")
)
