# YOLOX-s with ReLU in place of SiLU, which spikes cannot compute; to be trained anew.
model = dict(
    name="yolox_s_relu",
    type="openmmlab",
    config="yolox_s_relu_coco",
)
