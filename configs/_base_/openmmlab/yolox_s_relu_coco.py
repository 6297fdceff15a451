# YOLOX-s with ReLU in place of SiLU. Its weights are not those of YOLOX: train it anew.
_base_ = ["mmdet::yolox/yolox_s_8xb8-300e_coco.py"]
relu = dict(_delete_=True, type="ReLU")
model = dict(
    backbone=dict(act_cfg=relu),
    neck=dict(act_cfg=relu),
    bbox_head=dict(act_cfg=relu),
)
