# RetinaNet, ResNet-50, as mmdet trains it; its .pth is converted by adacal convert-checkpoint.
model = dict(
    name="retinanet_r50",
    type="openmmlab",
    config="retinanet/retinanet_r50_fpn_1x_coco",
)
