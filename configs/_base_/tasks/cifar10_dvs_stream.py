# CIFAR10-DVS, streamed; --cfg-options task.dataset.root=FOLDER
task = dict(type="events", mode="stream", dataset=dict(type="cifar10_dvs", root="data/cifar10_dvs"))
