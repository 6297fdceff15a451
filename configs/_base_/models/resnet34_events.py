# ResNet-34 of torchvision for event frames of any shape, its first layer made for two polarities.
model = dict(name="resnet34", type="torchvision", arch="resnet34")
