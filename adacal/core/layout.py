"""How the rows of a time-batched tensor are laid out, and what a stepwise run remembers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from adacal.core.errors import UnsupportedModelError
from adacal.core.nests import map_tensors
from adacal.core.neuron import NeuronState


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Blocks of B rows each: an optional ANN stream first, then one block a step, T outermost.

    Attributes:
        steps: spiking steps in this pass (0: the pass runs the ANN alone).
        reference: whether the first block is the ANN stream.
        batch: samples B in a block.
        T: steps of the whole run (equal to `steps`, except in a stepwise run).
        warmup: steps of the whole run after which neurons and temporal rules start afresh.
    """

    steps: int
    reference: bool
    batch: int
    T: int
    warmup: int = 0

    @property
    def blocks(self) -> int:
        """Number of blocks of rows."""
        return self.steps + int(self.reference)

    def split(self, tensor: Tensor, where: str, dim: int = 0) -> tuple[Tensor | None, Tensor]:
        """Views a tensor as its ANN stream [B, ...] and its spiking stream [steps, B, ...].

        Args:
            tensor: rows in dimension `dim`; a multiple of `blocks`.
            where: name for the error message.
            dim: the dimension of the rows; it is moved to the front.
        Raises:
            UnsupportedModelError: the rows were mixed, so that time cannot be told from samples.
        """
        if dim >= tensor.dim():
            raise UnsupportedModelError(
                f"{where}: shape {list(tensor.shape)} has no samples in dimension {dim}; the "
                "network mixes samples, so it cannot run time-batched"
            )
        rows = tensor.movedim(dim, 0) if dim else tensor
        sizes, blocks = rows.shape, self.blocks
        if sizes[0] % (blocks * self.batch):
            raise UnsupportedModelError(
                f"{where}: dimension {dim} has {sizes[0]} rows, which is no multiple of "
                f"{blocks} x {self.batch} (steps x samples); the network moves or removes the "
                "batch dimension, so it cannot run time-batched; keep samples in dimension 0"
            )
        parts = rows.view(blocks, sizes[0] // blocks, *sizes[1:])
        if self.reference:
            return parts[0], parts[1:]
        return None, parts

    def phases(self, before: int) -> list[int]:
        """Lengths of the pieces of this pass that do not start afresh within, in order.

        Args:
            before: steps of the run before this pass.

        >>> Layout(steps=6, reference=False, batch=1, T=6, warmup=2).phases(0)
        [2, 4]
        """
        first = self.warmup - before
        return [first, self.steps - first] if 0 < first < self.steps else [self.steps]

    def join(self, reference: Tensor | None, steps: Tensor, dim: int = 0) -> Tensor:
        """Puts two streams back into one tensor of rows; the inverse of `split`."""
        blocks = steps if reference is None else torch.cat([reference.unsqueeze(0), steps])
        rows = blocks.flatten(0, 1)
        return rows.movedim(0, dim) if dim else rows


@dataclass
class RuleState:
    """Sums that the running-mean and running-max rules keep between steps; rows are samples."""

    step: int = 0
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


@dataclass
class RunState:
    """All memory of a stepwise run: neurons, temporal rules, outputs that never change.

    Attributes:
        complete: whether every step of the run will be run, none left out by an early exit.
    """

    neurons: dict[str, NeuronState] = field(default_factory=dict)
    rules: dict[str, RuleState] = field(default_factory=dict)
    static: dict[str, Any] = field(default_factory=dict)
    complete: bool = False

    def copied(self) -> RunState:
        """Returns a state to go back to; the tensors, which no step changes, are shared."""
        return RunState(
            neurons={k: replace(v, tensors=dict(v.tensors)) for k, v in self.neurons.items()},
            rules={
                k: replace(v, inputs=list(v.inputs), outputs=list(v.outputs))
                for k, v in self.rules.items()
            },
            static=dict(self.static),
            complete=self.complete,
        )

    def become(self, other: RunState) -> None:
        """Takes over what another state holds."""
        self.neurons, self.rules, self.static = other.neurons, other.rules, other.static

    def keep(self, alive: Tensor) -> None:
        """Drops the samples whose entry in `alive` (bool, [B]) is False."""
        index = alive.nonzero().flatten()
        batch = alive.numel()

        def cut(tensor: Tensor, dim: int = 0) -> Tensor:
            size = tensor.shape[dim]
            if size == batch:
                return tensor.index_select(dim, index)
            grouped = tensor.unflatten(dim, (batch, size // batch))
            return grouped.index_select(dim, index).flatten(dim, dim + 1)

        for neuron in self.neurons.values():
            neuron.tensors = {name: cut(tensor) for name, tensor in neuron.tensors.items()}
        for rule in self.rules.values():
            rule.inputs = [cut(tensor) for tensor in rule.inputs]
            rule.outputs = [cut(tensor) for tensor in rule.outputs]
        self.static = map_tensors(self.static, lambda _: True, cut)
