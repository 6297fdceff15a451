# The same network, of which only the backbone spikes; its head stays analogue.
model = dict(name="digit_fcn", type="openmmlab", config="digit_fcn", backbone_only=True)
