# DeepLabV3, ResNet-50, for the 21 classes of VOC 2012, as mmsegmentation trains it.
model = dict(
    name="deeplabv3_r50",
    type="openmmlab",
    config="deeplabv3/deeplabv3_r50-d8_4xb4-40k_voc12aug-512x512",
)
