# VGG-11 with batch-norm and average pooling for event frames of any shape, one linear layer.
model = dict(
    name="vgg11",
    type="vgg",
    layers=(64, "P", 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"),
    global_pool=True,
)
