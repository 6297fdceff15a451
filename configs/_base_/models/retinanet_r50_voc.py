# RetinaNet, ResNet-50, for the 20 classes of VOC, as mmdet trains it.
model = dict(
    name="retinanet_r50",
    type="openmmlab",
    config="pascal_voc/retinanet_r50_fpn_1x_voc0712",
)
