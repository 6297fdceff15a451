# VGG-16 with batch-norm and average pooling for event frames of any shape, one linear layer.
model = dict(name="vgg16", type="vgg", global_pool=True)
