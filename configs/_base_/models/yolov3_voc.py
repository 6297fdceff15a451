# YOLOv3, Darknet-53 at 416 pixels, for the 20 classes of VOC; leaky ReLUs become signed neurons.
model = dict(
    name="yolov3_d53",
    type="openmmlab",
    config="yolov3_d53_voc0712",
)
