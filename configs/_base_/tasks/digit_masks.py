# The embedded segmentation set: digits on photographs, generated; stands in for VOC.
task = dict(type="segmentation", dataset=dict(type="digit_masks"))
