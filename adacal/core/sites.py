"""Site: a call that interception names; the protocols of those who compute and count there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from adacal.core.calls import Call
from adacal.core.traces import Trace

Coding = Literal["counts", "powers", "changes"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One call of an activation function, or of an operation that stays analogue.

    Attributes:
        name: module path, function where the module is not the activation itself, call number.
        function: name of the torch function.
        kind: `burst`, `capped`, `signed` or `analogue`.
        shape: shape of one row; a sample is one row unless the network folds more into the batch.
        channel_dim: dimension of the channels.
        cap, slope, ann_levels: parameters of `capped` and `signed`, as of a neuron.
        rows: rows of a sample, as the points of a cloud.
        coding: what its spikes say: `counts` of thresholds, each spike one; `powers` of two, each
            one spike, so that counts cost their set bits; `changes` of the rate by such powers.
        inplace: whether the network lets the output overwrite the input.
    """

    name: str
    function: str
    kind: str
    shape: tuple[int, ...]
    channel_dim: int = 1
    cap: float | None = None
    slope: Tensor | float | None = None
    ann_levels: int | None = None
    rows: int = 1
    coding: Coding = "counts"
    inplace: bool = False


class OnActivation(Protocol):
    """Computes the output rows of an activation site from its input rows; may return a tag."""

    def __call__(self, site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        """Returns the output rows, shape of `rows`, and their tag (None without a meter)."""


class Meter(Protocol):
    """Follows spikes through the network and counts synaptic operations.

    `where` is the label of a call: its module path, with the function where a module is more.
    """

    def placed(self, tag: Any, site: Site, row_dim: int) -> Any:
        """Lays the tag that a site's neurons gave out as the site's output.

        `row_dim` is where the output has its rows; -1 where it has one value a sample and no more.
        """

    def follow(self, where: str, call: Call, result: Any) -> Any:
        """Returns the tag of the result of a linear operation or a max pool.

        `result` is None where it does not matter or where an average stands in for a max pool.
        """

    def synapse(self, where: str, call: Call) -> None:
        """Counts one call of a convolution or a linear layer, best before it is made.

        Then the spikes that enter it are still at hand.
        """

    def product(self, where: str, call: Call, result: Any) -> None:
        """Counts a product outside of layers."""

    def analogue(self, where: str, call: Call, result: Any) -> None:
        """Counts an operation that stays analogue."""
