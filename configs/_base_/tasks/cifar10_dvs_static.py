# CIFAR10-DVS, as one image of counts; --cfg-options task.dataset.root=FOLDER
task = dict(type="events", mode="static", dataset=dict(type="cifar10_dvs", root="data/cifar10_dvs"))
