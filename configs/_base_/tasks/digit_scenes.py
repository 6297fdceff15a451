# The embedded detection set: coloured digits to find on photographs, generated, 96x96.
task = dict(type="detection", dataset=dict(type="digit_scenes"))
