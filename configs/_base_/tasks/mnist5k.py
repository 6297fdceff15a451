# The quickest embedded task: 5,000 grey digits that come with a package; runs anywhere.
task = dict(type="classification2d", dataset=dict(type="mnist5k"))
