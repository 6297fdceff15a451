# The control: the same network with activations of φ·T+1 levels, no spikes.
method = dict(type="quantized_ann", max_spikes=4)
