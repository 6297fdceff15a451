# Pascal VOC 07+12, tested on 07; below data_root: VOC2007 and VOC2012 as their archives unpack.
task = dict(
    type="detection",
    dataset=dict(
        type="openmmlab",
        name="voc",
        library="mmdet",
        config="_base_/datasets/voc0712",
        data_root="data/VOCdevkit",
    ),
)
