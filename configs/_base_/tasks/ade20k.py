# ADE20K, 150 classes; below data_root: images and annotations, {training, validation} in each.
task = dict(
    type="segmentation",
    dataset=dict(
        type="openmmlab",
        name="ade20k",
        library="mmseg",
        config="_base_/datasets/ade20k",
        data_root="data/ade/ADEChallengeData2016",
    ),
)
