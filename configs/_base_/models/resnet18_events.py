# ResNet-18 of torchvision for event frames of any shape, its first layer made for two polarities.
model = dict(name="resnet18", type="torchvision", arch="resnet18")
