# A small U-shaped segmentor of plain parts: convolutions, batch norm, ReLU, so all of it spikes.
#
# Strided convolutions take the place of max pools and nearest neighbours that of bilinear weights:
# both pass spikes on as spikes. Half the resolution is enough; the logits are enlarged.
default_scope = "mmseg"
norm = dict(type="BN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[121.0, 98.0, 89.0],
        std=[69.0, 58.0, 57.0],
        bgr_to_rgb=True,
        size=(64, 64),
    ),
    backbone=dict(
        type="UNet",
        base_channels=16,
        num_stages=4,
        strides=(2, 2, 2, 2),
        downsamples=(False, False, False),
        enc_num_convs=(1, 2, 3, 2),
        enc_dilations=(1, 1, 1, 1),
        dec_num_convs=(1, 1, 1),
        dec_dilations=(1, 1, 1),
        norm_cfg=norm,
        upsample_cfg=dict(type="InterpConv", upsample_cfg=dict(scale_factor=2, mode="nearest")),
    ),
    decode_head=dict(
        type="FCNHead",
        in_index=-1,
        in_channels=16,
        channels=16,
        kernel_size=1,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=11,
        norm_cfg=norm,
        align_corners=False,
        # background covers twelve times as many pixels as all digits
        loss_decode=dict(type="CrossEntropyLoss", class_weight=[0.4] + 10 * [1.0]),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=16)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
param_scheduler = dict(
    type="OneCycleLR",
    eta_max=0.1,
    total_steps=16,
    pct_start=0.2,
    by_epoch=True,
    convert_to_iter_based=True,
)
