# A small ATSS for Digit-Scenes: ResNet-18 a quarter as wide, one level at stride 8, 0.3 M weights.
#
# Made to spike whole: batch norm instead of group norm in the head, one level (so that its batch
# norms see one kind of map), and outputs that are linear (FCOS has an exponential or a ReLU there).
default_scope = "mmdet"
model = dict(
    type="ATSS",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[118.6, 96.7, 89.6],
        std=[69.9, 56.9, 55.9],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=16,
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        out_indices=(2,),
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
    ),
    neck=None,
    bbox_head=dict(
        type="ATSSHead",
        num_classes=10,
        in_channels=64,
        feat_channels=48,
        stacked_convs=2,
        norm_cfg=dict(type="BN", requires_grad=True),
        anchor_generator=dict(
            type="AnchorGenerator",
            ratios=[1.0],
            octave_base_scale=3,
            scales_per_octave=1,
            strides=[8],
        ),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(type="ATSSAssigner", topk=9), allowed_border=-1, pos_weight=-1, debug=False
    ),
    test_cfg=dict(
        nms_pre=200,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type="nms", iou_threshold=0.6),
        max_per_img=100,
    ),
)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=16)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(
        type="OneCycleLR",
        eta_max=3e-3,
        total_steps=16,
        pct_start=0.15,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
