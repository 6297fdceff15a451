# Pascal VOC 2012 masks, trained with SBD's too (SegmentationClassAug, made by mmsegmentation).
task = dict(
    type="segmentation",
    dataset=dict(
        type="openmmlab",
        name="voc12",
        library="mmseg",
        config="_base_/datasets/pascal_voc12_aug",
        data_root="data/VOCdevkit/VOC2012",
    ),
)
