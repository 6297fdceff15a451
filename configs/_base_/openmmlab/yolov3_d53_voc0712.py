# YOLOv3 at 416 pixels on VOC 07+12: mmdet's recipe for COCO with the data and classes of VOC.
_base_ = ["mmdet::yolo/yolov3_d53_8xb8-ms-416-273e_coco.py"]
model = dict(bbox_head=dict(num_classes=20))
data_root = "data/VOCdevkit/"
part = dict(
    type="VOCDataset",
    data_root=data_root,
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline={{_base_.train_pipeline}},
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="ConcatDataset",
        ignore_keys=["dataset_type"],
        datasets=[
            dict(
                ann_file="VOC2007/ImageSets/Main/trainval.txt",
                data_prefix=dict(sub_data_root="VOC2007/"),
                **part,
            ),
            dict(
                ann_file="VOC2012/ImageSets/Main/trainval.txt",
                data_prefix=dict(sub_data_root="VOC2012/"),
                **part,
            ),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="VOCDataset",
        data_root=data_root,
        ann_file="VOC2007/ImageSets/Main/test.txt",
        data_prefix=dict(sub_data_root="VOC2007/"),
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="VOCMetric", metric="mAP", eval_mode="11points")
test_evaluator = val_evaluator
