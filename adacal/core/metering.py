"""What a meter makes of a call: one order for calls that are decided and that stand on a tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from adacal.core.calls import Call
from adacal.core.sites import Meter

Counted = Literal["follow", "product", "pool", "synapse", "analogue"]
"""A linear operation; a product of activations; a max pool; a layer; what stays analogue."""


def run_counted(
    meter: Meter | None,
    role: Counted,
    label: str,
    call: Call,
    run: Callable[[], tuple[Any, bool]],
    *,
    once: bool = False,
) -> tuple[Any, Any]:
    """Runs a call and counts it.

    Args:
        meter: counts, if given.
        role: what the call is to it.
        label: what the call goes by.
        call: as read.
        run: makes the call; returns its result and whether that was computed now.
        once: the result may be of an earlier step, and then costs nothing.
    Returns:
        The result and its tag.
    """
    if meter is None:
        return run()[0], None
    tag = None
    if role in ("follow", "product"):  # before a call in place takes its spikes away
        tag = meter.follow(label, call, None)
    elif role == "synapse" and not once:
        meter.synapse(label, call)
    result, fresh = run()
    if role == "synapse" and once and fresh:
        meter.synapse(label, call)
    elif role == "pool":
        tag = meter.follow(label, call, result)
    elif role == "product":
        meter.product(label, call, result)
    elif role == "analogue":
        meter.analogue(label, call, result)
    return result, tag
