# DVS128 Gesture, streamed; --cfg-options task.dataset.root=FOLDER
task = dict(
    type="events", mode="stream", dataset=dict(type="dvs128_gesture", root="data/dvs128_gesture")
)
