# DeepLabV3, ResNet-50, for the 171 classes of COCO-Stuff, as mmsegmentation trains it.
model = dict(
    name="deeplabv3_r50",
    type="openmmlab",
    config="deeplabv3/deeplabv3_r50-d8_4xb4-320k_coco-stuff164k-512x512",
)
