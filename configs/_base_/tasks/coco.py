# COCO 2017 detection; below data_root: train2017, val2017, annotations/instances_*2017.json.
task = dict(
    type="detection",
    dataset=dict(
        type="openmmlab",
        name="coco",
        library="mmdet",
        config="_base_/datasets/coco_detection",
        data_root="data/coco",
    ),
)
