# FCOS, ResNet-50, as mmdet trains it; group norms in its head stay analogue.
model = dict(
    name="fcos_r50",
    type="openmmlab",
    config="fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
)
