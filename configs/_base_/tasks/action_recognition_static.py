# Action Recognition (PAF), as one image of counts; --cfg-options task.dataset.root=FOLDER
task = dict(
    type="events",
    mode="static",
    dataset=dict(type="action_recognition", root="data/action_recognition"),
)
