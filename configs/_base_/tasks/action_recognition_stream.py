# Action Recognition (PAF), streamed; --cfg-options task.dataset.root=FOLDER
task = dict(
    type="events",
    mode="stream",
    dataset=dict(type="action_recognition", root="data/action_recognition"),
)
