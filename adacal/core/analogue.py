"""Parts of a network that stay analogue on purpose, as one operation each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from adacal.core.interception import SpikingMode
from adacal.core.layout import Layout
from adacal.core.nests import map_tensors
from adacal.core.neuron import BurstNeuron
from adacal.core.sites import Meter, Site
from adacal.core.traces import Trace, set_trace, trace_of


def keep_analogue(part: Callable[..., Any], *inputs: Any) -> Any:
    """Calls a part of a network that a conversion shall leave as it is.

    A forward calls it to let only what comes before spike. The part then is one analogue site, and
    acts by the running-mean rule: its output, averaged over T, is the part of the mean input. Its
    MACs count once a run, as the last mean is all that it must be computed for (once a step where
    steps are run one by one, to leave early).

    Args:
        part: any function of tensors, samples in dimension 0.
        inputs: its arguments; tensors or nests of them.

    Returns:
        What the part returns.

    >>> import torch
    >>> keep_analogue(lambda pair: pair[0] - pair[1], (torch.ones(2), torch.ones(2)))
    tensor([0., 0.])
    """
    tensors = tuple(_tensors(inputs))
    if has_torch_function(tensors):
        return handle_torch_function(keep_analogue, tensors, part, *inputs)
    return part(*inputs)


def count_part(
    args: tuple[Any, ...],
    layout: Layout,
    meter: Meter,
    activated: Callable[[Site, Tensor], None],
) -> None:
    """Runs a part kept analogue on one block of rows, as the ANN does, and counts what it takes.

    Args:
        args: what `keep_analogue` was called with.
        layout: how their rows are laid out.
        meter: counts synapses; its pass must have begun.
        activated: told of every activation.
    """
    part, *inputs = args

    def first(tensor: Tensor) -> Tensor:
        block = tensor.detach()[: tensor.shape[0] // layout.blocks]
        set_trace(block, Trace(static=True))
        return block

    def activation(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        activated(site, rows)
        neuron = BurstNeuron(
            channel_dim=site.channel_dim,
            kind=site.kind,  # type: ignore[arg-type]
            cap=site.cap,
            slope=site.slope,
            ann_levels=site.ann_levels,
        )
        return neuron.activation(rows), None

    blocks = map_tensors(tuple(inputs), lambda tensor: trace_of(tensor) is not None, first)
    alone = Layout(steps=0, reference=True, batch=layout.batch, T=layout.T)
    mode = SpikingMode(nn.Module(), alone, activation, meter=meter)
    mode.run_traced(lambda _, given: part(*given), blocks)  # type: ignore[arg-type]


def _tensors(nest: Any) -> Iterator[Tensor]:
    if isinstance(nest, Tensor):
        yield nest
    elif isinstance(nest, list | tuple):
        for part in nest:
            yield from _tensors(part)
    elif isinstance(nest, dict):
        yield from _tensors(tuple(nest.values()))
