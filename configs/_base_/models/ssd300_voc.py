# SSD300, VGG-16, for the 20 classes of VOC, as mmdet trains it.
model = dict(
    name="ssd300",
    type="openmmlab",
    config="pascal_voc/ssd300_voc0712",
)
