# The reference row: the trained network as it is, no spikes.
method = dict(type="ann")
