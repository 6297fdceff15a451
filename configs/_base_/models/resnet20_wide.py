# The ResNet-20 of the spiking papers on CIFAR: stages of 64, 128 and 256 channels.
model = dict(name="resnet20_wide", type="resnet_cifar", depth=20, widths=(64, 128, 256))
