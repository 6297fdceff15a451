# ImageNet's ResNet-18, torchvision's; weights: a .pth state dict given as model.checkpoint.
model = dict(name="resnet18", type="torchvision", arch="resnet18")
