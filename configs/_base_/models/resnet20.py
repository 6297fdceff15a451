# The main network of the embedded tasks: ResNet-20 of base width 16 (0.27 M weights).
model = dict(name="resnet20", type="resnet_cifar", depth=20, width=16)
