# Cityscapes; below data_root: leftImg8bit, and gtFine with *_labelTrainIds.png from its scripts.
task = dict(
    type="segmentation",
    dataset=dict(
        type="openmmlab",
        name="cityscapes",
        library="mmseg",
        config="_base_/datasets/cityscapes",
        data_root="data/cityscapes",
    ),
)
