# YOLOv3, Darknet-53 at 416 pixels; leaky ReLUs become signed neurons.
model = dict(
    name="yolov3_d53",
    type="openmmlab",
    config="yolo/yolov3_d53_8xb8-ms-416-273e_coco",
)
