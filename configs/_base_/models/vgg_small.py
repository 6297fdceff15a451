# A VGG small enough to ship: six convolutions with batch-norm (0.29 M weights).
model = dict(
    name="vgg_small", type="vgg", layers=(32, 32, "P", 64, 64, "P", 128, 128, "P"), global_pool=True
)
