# ImageNet's ResNet-50, torchvision's; weights: a .pth state dict given as model.checkpoint.
model = dict(name="resnet50", type="torchvision", arch="resnet50")
