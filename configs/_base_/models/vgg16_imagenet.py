# ImageNet's VGG-16, torchvision's with batch-norm; weights: a .pth given as model.checkpoint.
model = dict(name="vgg16", type="torchvision", arch="vgg16_bn")
