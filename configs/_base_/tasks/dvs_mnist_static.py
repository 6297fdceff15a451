# The same recordings as one image of counts, the same at every step.
task = dict(type="events", mode="static", dataset=dict(type="dvs_mnist"))
