# ResNet-32 in the widths of the spiking papers: stages of 64, 128 and 256 channels.
model = dict(name="resnet32_wide", type="resnet_cifar", depth=32, widths=(64, 128, 256))
