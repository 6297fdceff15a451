# DeepLabV3, ResNet-50, for the 19 classes of Cityscapes, as mmsegmentation trains it.
model = dict(
    name="deeplabv3_r50",
    type="openmmlab",
    config="deeplabv3/deeplabv3_r50-d8_4xb2-80k_cityscapes-512x1024",
)
