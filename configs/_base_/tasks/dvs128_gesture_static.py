# DVS128 Gesture, as one image of counts; --cfg-options task.dataset.root=FOLDER
task = dict(
    type="events", mode="static", dataset=dict(type="dvs128_gesture", root="data/dvs128_gesture")
)
