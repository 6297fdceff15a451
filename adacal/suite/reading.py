"""How to read the leaderboards: the text below their index, answering what a reviewer asks."""

from __future__ import annotations

READING = """\
## How to read them

- One row is one method with its options and T. Numbers are per test sample, means over the seeds
  that drew the calibration samples; ± is the standard deviation over seeds. The CSV files have
  every number and the ids of all records of a row.
- **drop** is the loss against the ANN on the same test samples. [95 %] is a bootstrap interval
  that draws test samples and seeds anew, both paired. It cannot know more about seeds than those
  measured show: simulated with three seeds it covered 93 to 97 % where they differ little, 85 %
  where they differ most (drawing samples alone: 65 %). mIoU and mAP are no mean over samples: a
  run measures them on 500 redrawn test sets, the same in every record of the same data. Records
  from before that, and other metrics, have the range over seeds instead, and say so.
- **Ranks** are shared while intervals overlap the first one's, so a lower row of a rank is not
  shown to be worse. Overlap is a cautious test: rows of one rank may differ all the same.
- **Energy** is a model, not a measurement on a chip: exact operation counts times 45 nm prices
  (4.6 pJ a MAC, 0.9 pJ an accumulate); a burst of k spikes costs k. It leaves out moving data:
  `× ANN, memory` adds 5 pJ an access (a spike fetches its weight and reads and writes a potential,
  every time), and that often turns a saving into a loss.
- **× ANN** compares with a dense ANN in 32-bit floats that pays for its zeros, too, which
  flatters spikes. The control is **× quantised**: the same net with as many activation levels,
  paying for set bits only. Above 1 the spikes cost more than they save.
- **At a loss of at most …**: a row enters by its mean loss; look at its interval before calling
  it lossless.
- **front** ● marks rows that no other spiking row equals or beats in both energy and the metric,
  by means; ○ is such a row that a quantised ANN beats, so spikes buy nothing there. The cheapest
  row is on the front however poor it is.
- **ms/sample** is wall time of PyTorch on the machine named below each table, which simulates the
  spikes: it says what an experiment costs, nothing about a chip. Other programs may have run
  beside it, and rows were measured at different times. **× ANN, time** divides by the ANN timed
  in turns with it, in the same record, which moves much less: compare by that.
- Published numbers never stand in these tables: `adacal leaderboard --published` prints them
  apart."""
