# Control of a network trained with quantised activations: itself, counted bit by bit.
method = dict(type="qcfs_ann")
