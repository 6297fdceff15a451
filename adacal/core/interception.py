"""SpikingMode: sees every torch function of an unchanged network, gives each its meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from adacal.core import dimensions, functions, pooling
from adacal.core.calls import Call, read_call
from adacal.core.eight_bit import after_pool, run_pool
from adacal.core.errors import UnsupportedModelError
from adacal.core.execution import Execution
from adacal.core.functions import ActivationCall, Role
from adacal.core.inputs import blame_inputs
from adacal.core.layout import Layout, RunState
from adacal.core.metering import Counted, run_counted
from adacal.core.naming import CallNames
from adacal.core.precision import LayerRunner
from adacal.core.products import product_of
from adacal.core.sites import Meter, OnActivation, Site
from adacal.core.spike_bytes import forget
from adacal.core.tape import Kind, Rule, Tape
from adacal.core.traces import (
    Producer,
    Trace,
    after_linear,
    all_static,
    into,
    known_of,
    mark_base,
    mark_result,
    place_after,
    rearranges,
    set_trace,
    trace_of,
    traced_tensors,
)

MaxPool = Literal["running_max", "step_max", "average"]


class SpikingMode(TorchFunctionMode):
    """Active during one forward of the unchanged network.

    Args:
        module: the network; its module paths name the sites.
        layout: how rows are laid out.
        on_activation: computes each activation site.
        strict: refuse operations that would stay analogue.
        max_pool: `running_max` (exact), `step_max` (pool every step) or `average`.
        meter: counts synaptic operations, if given.
        weight_changes: weights to add for the spiking stream, by module path.
        state: memory of a stepwise run, if given.
        rounded: computes layers of the spiking stream in low precision, if given.
        tape: what this pass does is written on it, if given.
    Attributes:
        sites: the sites met so far, in calling order.
        synaptic_calls: how often each module called a synaptic operation.
        pooled: of each site that max pools read: how many elements they choose one from.
        read_otherwise: sites that something else reads.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        on_activation: OnActivation,
        *,
        strict: bool = False,
        max_pool: MaxPool = "running_max",
        meter: Meter | None = None,
        weight_changes: dict[str, Tensor] | None = None,
        state: RunState | None = None,
        rounded: LayerRunner | None = None,
        tape: Tape | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.layout = layout
        self.on_activation = on_activation
        self.strict = strict
        self.max_pool = max_pool
        self.meter = meter
        self.weight_changes = weight_changes or {}
        self.rounded = rounded
        self.tape = tape
        self.sites: list[Site] = []
        self.synaptic_calls: Counter[str] = Counter()
        self.pooled: dict[str, int] = {}
        self.read_otherwise: set[str] = set()
        self._names = CallNames()
        self._execution = Execution(layout, self._names, state)

    def run(self, forward: Callable[[nn.Module, Any], Any], rows: Tensor, *, static: bool) -> Any:
        """Runs the network on laid-out rows and returns its raw output rows."""
        rows = rows.view_as(rows)
        set_trace(rows, Trace(static=static))
        return self.run_traced(forward, rows)

    def run_traced(self, forward: Callable[[nn.Module, Any], Any], rows: Tensor) -> Any:
        """As `run`, for rows that already carry a trace (spiking input)."""
        if self.tape is not None:
            self.tape.first = self.tape.kept(trace_of(rows))
        try:
            with self._names.following(self.module), self:
                result = forward(self.module, rows)
        except Exception as error:
            blame_inputs(self.module, forward, rows, error)
            raise
        if self.tape is not None:
            self.tape.close(self._names.memories)
        self._read(traced_tensors(result))
        for tensor in traced_tensors(result):
            at = known_of(tensor).row_dim
            if at:
                raise UnsupportedModelError(
                    f"an output of shape {list(tensor.shape)} has its samples in dimension "
                    f"{at}; move them to dimension 0 before returning it"
                )
        return result

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        role = functions.role_of(func)
        if role is Role.PLAIN:
            return func(*args, **kwargs)
        traced = traced_tensors((args, kwargs))
        if not traced:
            return func(*args, **kwargs)
        if self.tape is not None:
            self.tape.begin(func, args, kwargs)
        result = self._answer(func, role, args, kwargs, traced)
        if self.tape is not None:
            self.tape.end(result, args)
        return result

    def _answer(
        self,
        func: Callable[..., Any],
        role: Role,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        traced: list[Tensor],
    ) -> Any:
        call = read_call(func, args, kwargs)
        if call.args is not args:
            traced = traced_tensors((call.args, call.kwargs))
        call = Call(call.function, call.name, call.args, call.kwargs, tuple(traced))
        pools = role is Role.MAX_POOL and self._pools(call)
        if not (pools or rearranges(call)):
            self._read(call.traced)
        if role is Role.ACTIVATION:
            activation = functions.activation_call(func, call.args, call.kwargs)
            if activation is not None:
                return self._activation(activation, call.name)
            role = Role.ANALOGUE
        if role is Role.LINEAR or (role is Role.BILINEAR and _linear_here(call)):
            return self._linear(call)
        if role is Role.SYNAPTIC and _constant_weight(call):
            return self._synaptic(call)
        if pools:
            return self._pool(call)
        if role is Role.MAX_POOL and not call.args[1:] and not call.kwargs:
            role = Role.DATA_DEPENDENT
        if role is Role.DATA_DEPENDENT:
            return self._data_dependent(call)
        return self._analogue(call)

    def _activation(self, call: ActivationCall, name: str) -> Tensor:
        trace = trace_of(call.input)
        assert trace is not None
        at = trace.row_dim
        rows = call.input.movedim(at, 0)
        single = rows.dim() == 1  # one value a sample: a channel of its own
        if single:
            rows = rows.unsqueeze(1)
        channel_dim = trace.channel_dim + int(0 <= trace.channel_dim < at)
        site = Site(
            name=self._names.site(name),
            function=name.rstrip("_"),
            kind=call.kind,
            shape=tuple(rows.shape[1:]),
            channel_dim=channel_dim if abs(channel_dim) < rows.dim() else 1,
            cap=call.cap,
            slope=call.slope,
            ann_levels=call.ann_levels,
            rows=rows.shape[0] // (self.layout.blocks * self.layout.batch),
            inplace=call.inplace,
        )
        self.layout.split(rows, site.name)
        self.sites.append(site)
        self._note(None if at or single else "fire", site)
        output, tag = self.on_activation(site, rows, replace(trace, producer=None) if at else trace)
        if at or single:
            output = (output.squeeze(1) if single else output).movedim(0, at)
        if self.meter and tag is not None:
            tag = self.meter.placed(tag, site, -1 if single else at)
        if call.inplace:
            output = into(call.input, output)
        known = Trace(static=False, channel_dim=trace.channel_dim, row_dim=at, site=site.name)
        set_trace(output, known, tag)
        if call.inplace:
            mark_base(output)
        return output

    def _linear(self, call: Call) -> Any:
        label = self._names.label(call.name)
        if _in_training(call):
            raise UnsupportedModelError(
                f"'{call.name}' at '{label}' runs in training mode; call .eval() on it "
                "(a batch norm without running statistics must be replaced)"
            )
        source = call.traced[0]
        row_dim = known_of(source).row_dim
        dimensions.refuse_windows_over_rows(label, call, row_dim)
        if self.layout.blocks > 1:
            dimensions.refuse_joined_rows(label, call, row_dim)
        known = after_linear(call)
        role: Counted = "product" if call.name in functions.BILINEAR else "follow"
        result, tag = self._run_counted(role, label, call, lambda: self._run_linear(call, known))
        dimensions.refuse_mixed_rows(label, call.name, source, result, row_dim)
        return mark_result(result, known, call.args, tag)

    def _run_linear(self, call: Call, known: Trace) -> tuple[Any, bool]:
        averages = call.name in functions.AVERAGE_POOL
        if known.static and (averages or call.name == "batch_norm"):
            self._note("once")
            return self._execution.once(call)
        if averages and self.rounded:
            self._note("pool")
            return run_pool(call), True
        if call.name == "data" and self.rounded:
            forget(call.traced[0])
            self._note(None)
        return call.run(), True

    def _synaptic(self, call: Call) -> Tensor:
        module, label = self._names.module, self._names.label(call.name)
        dimensions.refuse_windows_over_rows(label, call, known_of(call.traced[0]).row_dim)
        self.synaptic_calls[module] += 1
        change = self.weight_changes.get(module) if self.layout.steps else None
        static = all_static(call.traced)
        once = static and change is None

        def run() -> tuple[Tensor, bool]:
            if change is not None:
                self._note(None)
                return self._execution.with_changed_weight(call, change), True
            if once:
                self._note("once")
                return self._execution.once(call)
            if self.rounded:
                self._note("rounded")
                return self.rounded.run(call), True
            return call.run(), True

        result, _ = self._run_counted("synapse", label, call, run, once=once)
        producer = Producer(
            module=module, function=call.function, args=call.args, kwargs=call.kwargs
        )
        trace = Trace(
            static=static,
            channel_dim=-1 if call.name == "linear" else 1,
            row_dim=known_of(call.traced[0]).row_dim,
            producer=producer,
        )
        set_trace(result, trace)
        return cast(Tensor, result)

    def _note(self, kind: Kind | None, detail: Site | Rule | None = None) -> None:
        if self.tape is not None:
            self.tape.note(kind, detail)

    def _run_counted(
        self,
        role: Counted,
        label: str,
        call: Call,
        run: Callable[[], tuple[Any, bool]],
        *,
        once: bool = False,
    ) -> tuple[Any, Any]:
        if self.tape is not None:
            self.tape.counted(role, label)
        return run_counted(self.meter, role, label, call, run, once=once)

    def _read(self, tensors: Iterable[Tensor]) -> None:
        """Notes the sites whose outputs are read here, by anything but a max pool."""
        sites = (known_of(tensor).site for tensor in tensors)
        self.read_otherwise.update(site for site in sites if site is not None)

    def _pools(self, call: Call) -> bool:
        label = self._names.label(call.name)
        return pooling.pools(call, label, known_of(call.args[0]).row_dim)

    def _pool(self, call: Call) -> Any:
        label = self._names.label(call.name)
        source = call.traced[0]
        before = known_of(source)
        dimensions.refuse_windows_over_rows(label, call, before.row_dim)
        after = dimensions.moved_rows(call, source, before.row_dim)
        known = replace(before, row_dim=after, producer=None, site=None)
        if before.site is not None:
            window = pooling.window_size(call, source)
            self.pooled[before.site] = max(window, self.pooled.get(before.site, 1))
        plain = all_static(call.traced) or self.layout.steps == 0
        if self.max_pool == "average" and not plain:
            self._note(None)
            return self._average_instead(call, known, label)
        result, tag = self._run_counted("pool", label, call, lambda: self._run_pool(call, after))
        return mark_result(result, known, tag=tag)

    def _run_pool(self, call: Call, after: int) -> tuple[Any, bool]:
        if all_static(call.traced):
            self._note("once")
            return self._execution.once(call)
        if self.layout.steps == 0 or self.max_pool == "step_max":
            self._note("pool")
            return run_pool(call), True
        at = known_of(call.traced[0]).row_dim
        self._note("running", Rule(False, at, after, None))
        result = self._execution.running(call, mean=False, dim=at, out_dim=after)
        after_pool(call, result)
        return result, True

    def _average_instead(self, call: Call, known: Trace, label: str) -> Any:
        source, at, after = call.args[0], known_of(call.args[0]).row_dim, known.row_dim
        reference, _ = self.layout.split(source, label, at)
        average = pooling.average_version(call, source)
        tag = self.meter.follow(label, call, None) if self.meter else None
        if reference is not None:
            pooled = call.run_on(reference.movedim(0, at))
            pooled = pooled[0] if isinstance(pooled, tuple) else pooled
            ann = pooled.shape[after]
            spiking = average.narrow(after, ann, average.shape[after] - ann)
            average = torch.cat([pooled, spiking], after)
        set_trace(average, known, tag)
        if not pooling.gives_indices(call):
            return average
        exact = call.run()
        return type(exact)((average, exact[1]))

    def _analogue(self, call: Call) -> Any:
        name, label = call.name, self._names.site(call.name)
        if self.strict:
            raise UnsupportedModelError(
                f"'{name}' at '{label}' cannot be computed by spikes and strict=True refuses "
                "analogue parts; replace it by a ReLU-type function and retrain, or convert with "
                "strict=False to keep it analogue and flagged"
            )
        source = call.traced[0]
        site = Site(name=label, function=name, kind="analogue", shape=tuple(source.shape[1:]))
        self.sites.append(site)
        dims = {known_of(tensor).row_dim for tensor in call.traced}
        if len(dims) > 1:
            raise UnsupportedModelError(
                f"'{name}' at '{label}' gets samples in different dimensions ({sorted(dims)}); "
                "keep samples in dimension 0"
            )
        dim = dims.pop()
        out_dim, channel_dim = place_after(call)
        static = all_static(call.traced)
        attention = name == "multi_head_attention_forward"

        def run() -> tuple[Any, bool]:
            if static or self.layout.steps == 0:
                return call.run(), True
            if attention and dim == 1:
                self._note(None)
                return self._attention(call, label), True
            self._note("running", Rule(True, dim, out_dim, label))
            return self._execution.running(
                call, mean=True, dim=dim, out_dim=out_dim, label=label
            ), True

        result, _ = self._run_counted("analogue", label, call, run)
        known = Trace(static=static, channel_dim=channel_dim, row_dim=out_dim)
        mark_result(result, known, call.args)
        if attention and isinstance(result[1], Tensor):
            set_trace(result[1], replace(known, row_dim=0))
        return result

    def _attention(self, call: Call, label: str) -> Any:
        rowed = dimensions.attention_with_rows_in_dimension_1(call.function)
        moved = replace(call, function=rowed)
        output, weights = self._execution.running(moved, mean=True, dim=1, label=label)
        return output, None if weights is None else weights.movedim(1, 0)

    def _data_dependent(self, call: Call) -> Any:
        if self.layout.steps == 0:
            return call.run()
        raise UnsupportedModelError(
            f"'{call.name}' at '{self._names.label(call.name)}' looks at activation values to "
            "decide what to do (a comparison, an index or a Python number), which has no meaning "
            "for spikes; rewrite it with a ReLU, or convert the part of the network before it"
        )


def _linear_here(call: Call) -> bool:
    """A product is linear if at most one factor changes from step to step."""
    if call.kwargs.get("rounding_mode") is not None:
        return False
    if call.name == "grid_sample" and not known_of(call.args[1]).static:
        return False
    if call.name in functions.DIVISION:
        numerator, denominator = call.args[:2]
        if call.name == "__rtruediv__":
            numerator, denominator = denominator, numerator
        return isinstance(numerator, Tensor) and not (
            isinstance(denominator, Tensor) and trace_of(denominator) is not None
        )
    product = product_of(call)
    factors = call.traced
    if product is not None:
        factors = tuple(tensor for tensor in product.factors if trace_of(tensor) is not None)
    changing = sum(not known_of(tensor).static for tensor in factors)
    return len(factors) < 2 or changing == 1


def _constant_weight(call: Call) -> bool:
    weight = call.argument(1, "weight")
    return isinstance(weight, Tensor) and trace_of(weight) is None


def _in_training(call: Call) -> bool:
    if call.name == "batch_norm":
        return bool(call.argument(5, "training", False))
    if "dropout" not in call.name or call.name == "_dropout_identity":
        return False
    default = not call.name.startswith(("alpha", "feature_alpha"))  # as torch.nn.functional
    return bool(call.kwargs.get("training", call.argument(2, "train", default)))
