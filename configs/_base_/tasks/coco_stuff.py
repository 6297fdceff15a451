# COCO-Stuff 164k, 171 classes; masks *_labelTrainIds.png as mmsegmentation's converter writes them.
task = dict(
    type="segmentation",
    dataset=dict(
        type="openmmlab",
        name="coco_stuff",
        library="mmseg",
        config="_base_/datasets/coco-stuff164k",
        data_root="data/coco_stuff164k",
    ),
)
