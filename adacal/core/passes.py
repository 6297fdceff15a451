"""One pass of a spiking network: read from a tape, or decided call by call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from adacal.core.before import Before, whole_or_not_at_all
from adacal.core.energy import EnergyMeter
from adacal.core.errors import UnsupportedModelError
from adacal.core.firing import Firing
from adacal.core.interception import SpikingMode
from adacal.core.layout import Layout, RunState
from adacal.core.playback import Replay
from adacal.core.traces import Trace, outside_inference_mode, set_trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


@outside_inference_mode()
def run_pass(
    network: SpikingNetwork,
    make_rows: Callable[[], Tensor],
    layout: Layout,
    meter: EnergyMeter | None,
    state: RunState | None,
    first_step: int,
) -> Any:
    """Runs some steps of all samples in one forward of the network and returns its raw outputs.

    Args:
        network: what to run.
        make_rows: lays the input out; some layers overwrite what they are given.
        layout: how that is laid out.
        meter: counts these steps.
        state: memory of a stepwise run, changed in place.
        first_step: how many steps were run before.
    Raises:
        UnsupportedModelError: the network calls other functions than at conversion.
        Whatever fails: the memory of the run and what was counted are then as before.
    """
    with network.tapes.lock, whole_or_not_at_all(meter, state) as before:
        outputs = _passed(network, make_rows, layout, meter, state, first_step, before)
        if meter is not None:
            meter.settle()
        return outputs


def _passed(
    network: SpikingNetwork,
    make_rows: Callable[[], Tensor],
    layout: Layout,
    meter: EnergyMeter | None,
    state: RunState | None,
    first_step: int,
    before: Before,
) -> Any:
    """Returns raw outputs; what is before is what to go back to where a tape is not followed."""
    rounded = network.layer_runners.of(network.precision)
    if rounded is not None:
        rounded.begin()
    rows, tape, key, written = make_rows(), None, None, None
    if not network.weight_changes and not (meter is not None and meter.keep_graph):
        key = _kind_of_pass(network, rows, layout, state)
        written = network.tapes.find(key, layout.batch)
        if written is not None:
            tag = _begin(network, rows, layout, meter, state, first_step)
            around = None
            if network.skip_module:
                around = network.tapes.surroundings(written, network.module, network.forward)
            replay = Replay(
                written,
                layout,
                Firing(network, layout, meter, state),
                meter=meter,
                state=state,
                rounded=rounded,
                surroundings=around,
            )
            done, outputs = network.tapes.play(
                key, layout.batch, replay, network.forward, network.module, rows, tag
            )
            if done:
                return outputs
            if replay.miscounted:
                written = None
            before.restore()
            rows = make_rows()
        tape = network.tapes.blank(key, layout.batch)
    mode = SpikingMode(
        network.module,
        layout,
        Firing(network, layout, meter, state),
        strict=network.strict,
        max_pool=network.max_pool,
        meter=meter,
        weight_changes=network.weight_changes,
        state=state,
        rounded=rounded,
        tape=tape,
    )
    rows = rows.view_as(rows)
    tag = _begin(network, rows, layout, meter, state, first_step)
    set_trace(rows, Trace(static=not network.stream), tag)
    outputs = mode.run_traced(network.forward, rows)
    if [site.name for site in mode.sites] != [site.name for site in network.sites]:
        known = {site.name for site in network.sites}
        called = {site.name for site in mode.sites}
        raise UnsupportedModelError(
            "the network did not call the functions it called at conversion (missing: "
            f"{sorted(known - called) or 'none'}; new: {sorted(called - known) or 'none'}); "
            "convert it with an example of the inputs it will see"
        )
    if written is not None:
        network.tapes.distrust(written)
    if tape is not None:
        network.tapes.keep(key, tape)
    return outputs


def _begin(
    network: SpikingNetwork,
    rows: Tensor,
    layout: Layout,
    meter: EnergyMeter | None,
    state: RunState | None,
    first_step: int,
) -> Any:
    """Tells a meter of a pass and returns the tag of its input, which is spikes if it is events."""
    if meter is None:
        return None
    complete = state is not None and state.complete
    meter.begin(layout, first_step, complete=complete, fan_outs=network.fan_outs)
    return meter.input_events(rows) if network.event_input else None


def _kind_of_pass(
    network: SpikingNetwork, rows: Tensor, layout: Layout, state: RunState | None
) -> Any:
    """Returns what the meaning of a pass's calls depends on, besides the calls themselves."""
    options = (network.strict, network.max_pool, network.stream, network.precision, state is None)
    one = rows.shape[0] == 1  # no dimension can be told from one of size 1
    place = (rows.dtype, rows.device, one, replace(layout, batch=0))
    return (id(network.module), id(network.forward), *options, *place)
