# ImageNet's ResNet-34, torchvision's; weights: a .pth state dict given as model.checkpoint.
model = dict(name="resnet34", type="torchvision", arch="resnet34")
