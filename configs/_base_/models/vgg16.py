# VGG-16 with batch-norm and average pooling for CIFAR, as spiking papers use it.
model = dict(name="vgg16", type="vgg", hidden=(4096, 4096), dropout=0.5)
