"""The main metric on redrawn test sets: the source of intervals where no sample is right or wrong.

A mean over classes (mIoU) or a curve over all samples (mAP) has no value a sample, so nothing can
be drawn from records afterwards. A run therefore draws the test samples anew itself and keeps the
metric of each redraw, for the ANN and for the converted network. Which samples a redraw takes
depends on the data alone: redraw r of every record of the same data holds the same samples, so
records can be paired.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from adacal.core.errors import DataError

if TYPE_CHECKING:
    from adacal.suite.task import Evaluation

REDRAWS = 500
"""Redraws a record keeps: 5 kB in base64; the ends of an interval err by an eighth of its sigma."""


class Redraws(BaseModel):
    """The main metric of both networks on the same redrawn test sets, packed; see `values`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    draws: int = Field(gt=0)
    ann: str
    snn: str

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the metric of ANN and converted network, two arrays [draws], NaN where unknown.

        Raises:
            DataError: the text is damaged or of another length.
        """
        return unpack_numbers(self.ann, self.draws), unpack_numbers(self.snn, self.draws)


def sample_counts(data_fingerprint: str, samples: int, draws: int = REDRAWS) -> np.ndarray:
    """Returns how often each test sample occurs in each redraw, whole numbers [draws, samples].

    Plain resampling with replacement, always the same for the same data. The raw bits of PCG64 are
    used because NumPy keeps these, and not what it makes of them, the same in all versions; a
    sample's chance is off by less than samples / 2**64.

    >>> sample_counts("data", 4, 2).sum(axis=1).tolist()
    [4, 4]
    """
    text = f"{data_fingerprint}:{samples}".encode()
    bits = np.random.PCG64(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))
    drawn = bits.random_raw(draws * samples).reshape(draws, samples) % np.uint64(samples)
    rows = [np.bincount(row, minlength=samples) for row in drawn.astype(np.int64)]
    return np.stack(rows)


def redrawn(evaluation: Evaluation, data_fingerprint: str, samples: int) -> np.ndarray | None:
    """Returns the main metric on each redraw, shape [REDRAWS]; None where the task gives none.

    Raises:
        DataError: the task's `redraw` returns another number of values.
    """
    if evaluation.redraw is None:
        return None
    values = np.asarray(evaluation.redraw(sample_counts(data_fingerprint, samples)))
    if values.shape != (REDRAWS,):
        raise DataError(
            f"Evaluation.redraw of the task gave values of shape {list(values.shape)}; it must "
            f"give one a row of its counts, here [{REDRAWS}]"
        )
    return values


def paired(ann: np.ndarray | None, snn: np.ndarray | None) -> Redraws | None:
    """Returns what a record keeps of both networks' redraws; None unless both are known."""
    if ann is None or snn is None:
        return None
    return Redraws(draws=len(ann), ann=pack_numbers(ann), snn=pack_numbers(snn))


def pack_numbers(values: np.ndarray) -> str:
    """Packs numbers [N] as 32-bit floats into base64 text.

    >>> unpack_numbers(pack_numbers(np.array([0.5, 2.0])), 2).tolist()
    [0.5, 2.0]
    """
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def unpack_numbers(text: str, count: int) -> np.ndarray:
    """Returns the numbers [count] that `pack_numbers` packed, as 64-bit floats.

    Raises:
        DataError: the text is damaged or of another length.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"redraws are not base64 ({error})") from error
    if len(raw) != 4 * count:
        raise DataError(f"redraws hold {len(raw)} bytes; {count} of them need {4 * count}")
    return np.frombuffer(raw, dtype="<f4").astype(np.float64)
