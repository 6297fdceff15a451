# FCN, ResNet-50, for the 21 classes of VOC 2012, as mmsegmentation trains it.
model = dict(
    name="fcn_r50",
    type="openmmlab",
    config="fcn/fcn_r50-d8_4xb4-40k_voc12aug-512x512",
)
