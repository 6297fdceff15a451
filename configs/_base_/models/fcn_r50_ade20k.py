# FCN, ResNet-50, for the 150 classes of ADE20K, as mmsegmentation trains it.
model = dict(
    name="fcn_r50",
    type="openmmlab",
    config="fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512",
)
