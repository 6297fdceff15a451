# A small U-shaped network of mmsegmentation with an FCN head, converted whole.
model = dict(name="digit_fcn", type="openmmlab", config="digit_fcn")
