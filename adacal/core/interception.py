"""SpikingMode: sees every torch function of an unchanged network, gives each its meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from adacal.core import dimensions, functions
from adacal.core.errors import UnsupportedModelError
from adacal.core.functions import ActivationCall, Role
from adacal.core.layout import Layout, RuleState, RunState
from adacal.core.nests import map_tensors
from adacal.core.rules import apply_rule

MaxPool = Literal["running_max", "step_max", "average"]
_ATTRIBUTE = "_adacal_trace"


@dataclass(frozen=True, kw_only=True)
class Producer:
    """The synaptic operation whose output reaches a tensor through per-channel scalings only.

    Attributes:
        module: path of the module that owns the weight.
        function: the torch function (conv2d, linear, ...).
        args, kwargs: its arguments as called.
        scale: factor [C] or 1.0 applied to its output on the way (batch norm).
    """

    module: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    scale: Tensor | float = 1.0


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What interception knows of a tensor that carries activations.

    Attributes:
        static: the rows of all blocks are equal (nothing before it has fired).
        channel_dim: dimension of the channels.
        row_dim: dimension of the rows; 0 unless the network moved it.
        producer: the synaptic operation it comes from, if that is known.
        tag: what the meter attached to it.
    """

    static: bool
    channel_dim: int = 1
    row_dim: int = 0
    producer: Producer | None = None
    tag: Any = None


@dataclass(frozen=True, kw_only=True)
class Site:
    """One call of an activation function, or of an operation that stays analogue.

    Attributes:
        name: module path, function where the module is not the activation itself, call number.
        function: name of the torch function.
        kind: `burst`, `capped`, `signed` or `analogue`.
        shape: shape of one sample.
        channel_dim: dimension of the channels.
        cap, slope: parameters of `capped` and `signed`.
    """

    name: str
    function: str
    kind: str
    shape: tuple[int, ...]
    channel_dim: int = 1
    cap: float | None = None
    slope: Tensor | float | None = None


class OnActivation(Protocol):
    """Computes the output rows of an activation site from its input rows; may return a tag."""

    def __call__(self, site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        """Returns the output rows, shape of `rows`, and their tag (None without a meter)."""


class Meter(Protocol):
    """Follows spikes through the network and counts synaptic operations."""

    def follow(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        result: Any,
        name: str,
        where: str,
    ) -> Any:
        """Returns the tag of the result of a linear operation or a max pool."""

    def synapse(
        self, where: str, function: Callable[..., Any], args: Any, kwargs: Any, result: Any
    ) -> None:
        """Counts one call of a convolution or a linear layer."""

    def product(
        self, where: str, function: Callable[..., Any], args: Any, kwargs: Any, result: Any
    ) -> None:
        """Counts a matrix product outside of layers."""

    def analogue(
        self, where: str, function: Callable[..., Any], args: Any, kwargs: Any, result: Any
    ) -> None:
        """Counts an operation that stays analogue."""


def trace_of(tensor: Tensor) -> Trace | None:
    """Returns what interception knows of a tensor; None if it carries no activations."""
    return getattr(tensor, _ATTRIBUTE, None)


def set_trace(tensor: Tensor, trace: Trace | None) -> None:
    """Attaches knowledge to a tensor."""
    setattr(tensor, _ATTRIBUTE, trace)


def traced_tensors(values: Any) -> Iterator[Tensor]:
    """Yields the tensors carrying activations in a nest of arguments."""
    if isinstance(values, Tensor):
        if trace_of(values) is not None:
            yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from traced_tensors(value)
    elif isinstance(values, dict):
        yield from traced_tensors(tuple(values.values()))


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
    ) -> None:
        super().__init__()
        self.module = module
        self.layout = layout
        self.on_activation = on_activation
        self.strict = strict
        self.max_pool = max_pool
        self.meter = meter
        self.weight_changes = weight_changes or {}
        self.state = state
        self.sites: list[Site] = []
        self.synaptic_calls: Counter[str] = Counter()
        self._path: list[str] = [""]
        self._leaf: list[bool] = [False]
        self._calls: Counter[str] = Counter()
        self._memories: Counter[str] = Counter()

    def run(self, forward: Callable[[nn.Module, Any], Any], rows: Tensor, *, static: bool) -> Any:
        """Runs the network on laid-out rows and returns its raw output rows."""
        rows = rows.view_as(rows)
        set_trace(rows, Trace(static=static))
        return self.run_traced(forward, rows)

    def run_traced(self, forward: Callable[[nn.Module, Any], Any], rows: Tensor) -> Any:
        """As `run`, for rows that already carry a trace (spiking input)."""
        with self._module_paths(), self:
            result = forward(self.module, rows)
        for tensor in traced_tensors(result):
            if _row_dim(tensor):
                raise UnsupportedModelError(
                    f"an output of shape {list(tensor.shape)} has its samples in dimension "
                    f"{_row_dim(tensor)}; move them to dimension 0 before returning it"
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
        traced = list(traced_tensors((args, kwargs)))
        if not traced:
            return func(*args, **kwargs)
        static = all(_static(tensor) for tensor in traced)
        name = functions.function_name(func)
        if role is Role.ACTIVATION:
            call = functions.activation_call(func, args, kwargs)
            if call is not None:
                return self._activation(call, name)
            role = Role.ANALOGUE
        if role is Role.BILINEAR and _linear_here(name, args, traced):
            role = Role.LINEAR
        if role is Role.LINEAR:
            return self._linear(func, name, args, kwargs, traced, static)
        if role is Role.SYNAPTIC and _constant_weight(args, kwargs):
            return self._synaptic(func, name, args, kwargs, traced[0], static)
        if role is Role.MAX_POOL and _pools(name, args, kwargs):
            return self._pool(func, name, args, kwargs, static)
        if role is Role.MAX_POOL and not args[1:] and not kwargs:
            role = Role.DATA_DEPENDENT
        if role is Role.DATA_DEPENDENT:
            return self._data_dependent(func, name, args, kwargs)
        return self._analogue(func, name, args, kwargs, traced, static)

    # what each role does -------------------------------------------------------------------

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
            name=self._name(name),
            function=name.rstrip("_"),
            kind=call.kind,
            shape=tuple(rows.shape[1:]),
            channel_dim=channel_dim if abs(channel_dim) < rows.dim() else 1,
            cap=call.cap,
            slope=call.slope,
        )
        self.layout.split(rows, site.name)
        self.sites.append(site)
        output, tag = self.on_activation(site, rows, replace(trace, producer=None) if at else trace)
        output = (output.squeeze(1) if single else output).movedim(0, at)
        if call.inplace:
            output = call.input.copy_(output)
        known = Trace(static=False, channel_dim=trace.channel_dim, row_dim=at, tag=tag)
        set_trace(output, known)
        if call.inplace:
            _mark_base(output)
        return output

    def _linear(
        self,
        func: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        traced: list[Tensor],
        static: bool,
    ) -> Any:
        self._refuse_training(name, args, kwargs)
        known = _propagated(func, name, args, kwargs, traced, static)
        tag = None
        if self.meter:
            tag = self.meter.follow(func, args, kwargs, None, name, self._label(name))
        if static and (name == "batch_norm" or name in functions.AVERAGE_POOL):
            result, _ = self._once(func, name, args, kwargs)
        else:
            result = func(*args, **kwargs)
        dimensions.refuse_mixed_rows(
            self._label(name), name, traced[0], result, _row_dim(traced[0])
        )
        if self.meter and name in functions.MATRIX_PRODUCT:
            self.meter.product(self._label(name), func, args, kwargs, result)
        return _mark_all(result, known, args, tag)

    def _synaptic(
        self,
        func: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        source: Tensor,
        static: bool,
    ) -> Tensor:
        module = self._path[-1]
        self.synaptic_calls[module] += 1
        change = self.weight_changes.get(module) if self.layout.steps else None
        fresh = True
        if change is not None:
            result = self._changed_weights(func, args, kwargs, change)
        elif static:
            result, fresh = self._once(func, name, args, kwargs)
        else:
            result = func(*args, **kwargs)
        if self.meter and fresh:
            self.meter.synapse(self._label(name), func, args, kwargs, result)
        trace = Trace(
            static=static,
            channel_dim=-1 if name == "linear" else 1,
            row_dim=_row_dim(source),
            producer=Producer(module=module, function=func, args=args, kwargs=kwargs),
        )
        set_trace(result, trace)
        return result

    def _pool(
        self,
        func: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        static: bool,
    ) -> Any:
        source = next(traced_tensors((args, kwargs)))
        known = replace(trace_of(source) or Trace(static=static), producer=None, tag=None)
        if static or self.layout.steps == 0:
            result = self._once(func, name, args, kwargs)[0] if static else func(*args, **kwargs)
        elif self.max_pool == "step_max":
            result = func(*args, **kwargs)
        elif self.max_pool == "average":
            return self._average_instead(func, name, args, kwargs, known)
        else:
            result = self._rule(func, name, args, kwargs, mean=False)
        tag = None
        if self.meter:
            tag = self.meter.follow(func, args, kwargs, result, name, self._label(name))
        return _mark_all(result, known, (), tag)

    def _average_instead(
        self,
        func: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        known: Trace,
    ) -> Any:
        source = next(traced_tensors((args, kwargs)))
        reference, _ = self.layout.split(source, self._label(name))
        average = average_version(name, args, kwargs)
        tag = None
        if self.meter:
            tag = self.meter.follow(func, args, kwargs, None, name, self._label(name))
        if reference is not None:
            size = reference.shape[0]
            pooled = func(reference, *args[1:], **kwargs)
            pooled = pooled[0] if isinstance(pooled, tuple) else pooled
            average = torch.cat([pooled, average[size:]])
        set_trace(average, replace(known, tag=tag))
        exact = func(*args, **kwargs) if _gives_indices(name, args, kwargs) else None
        return average if exact is None else type(exact)((average, exact[1]))

    def _analogue(
        self,
        func: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        traced: list[Tensor],
        static: bool,
    ) -> Any:
        label = self._name(name)
        if self.strict:
            raise UnsupportedModelError(
                f"'{name}' at '{label}' cannot be computed by spikes and strict=True refuses "
                "analogue parts; replace it by a ReLU-type function and retrain, or convert with "
                "strict=False to keep it analogue and flagged"
            )
        site = Site(name=label, function=name, kind="analogue", shape=tuple(traced[0].shape[1:]))
        self.sites.append(site)
        dims = {_row_dim(tensor) for tensor in traced}
        if len(dims) > 1:
            raise UnsupportedModelError(
                f"'{name}' at '{label}' gets samples in different dimensions ({sorted(dims)}); "
                "keep samples in dimension 0"
            )
        dim = dims.pop()
        attention = name == "multi_head_attention_forward"
        if static or self.layout.steps == 0:
            result = func(*args, **kwargs)
        elif attention and dim == 1:
            rowed = dimensions.attention_with_rows_in_dimension_1(func)
            result = self._rule(rowed, name, args, kwargs, mean=True, dim=1, label=label)
            if result[1] is not None:
                result = result[0], result[1].movedim(1, 0)
        else:
            result = self._rule(func, name, args, kwargs, mean=True, dim=dim, label=label)
        if self.meter:
            self.meter.analogue(label, func, args, kwargs, result)
        known = Trace(static=static, channel_dim=_channel_dim(traced), row_dim=dim)
        _mark_all(result, known, args)
        if attention and isinstance(result[1], Tensor):
            set_trace(result[1], replace(known, row_dim=0))
        return result

    def _data_dependent(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self.layout.steps == 0:
            return func(*args, **kwargs)
        raise UnsupportedModelError(
            f"'{name}' at '{self._label(name)}' looks at activation values to decide what to do "
            "(a comparison, an index or a Python number), which has no meaning for spikes; "
            "rewrite it with a ReLU, or convert the part of the network before it"
        )

    # helpers --------------------------------------------------------------------------------

    def _rule(
        self,
        func: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        mean: bool,
        dim: int = 0,
        label: str | None = None,
    ) -> Any:
        where = label or self._memory(name)
        state = None
        if self.state is not None:
            state = self.state.rules.setdefault(where, RuleState())
        return apply_rule(
            func,
            args,
            kwargs,
            layout=self.layout,
            is_stream=lambda tensor: trace_of(tensor) is not None,
            where=where,
            mean=mean,
            dim=dim,
            state=state,
        )

    def _once(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, bool]:
        """Computes an operation on static rows for one block and repeats the result.

        Returns the result and whether it was computed now (not taken from an earlier step).
        """
        if self.layout.blocks == 1 and self.state is None:
            return func(*args, **kwargs), True
        if any(map(_row_dim, traced_tensors((args, kwargs)))):
            return func(*args, **kwargs), True
        if self.state is not None:
            key = self._memory(name)
            fresh = key not in self.state.static
            if fresh:
                self.state.static[key] = func(*args, **kwargs)
            return map_tensors(self.state.static[key], _any, Tensor.clone), fresh
        blocks = self.layout.blocks

        def first(value: Any) -> Any:
            if isinstance(value, Tensor) and trace_of(value) is not None:
                return value[: value.shape[0] // blocks]
            return value

        block = func(*map(first, args), **{key: first(value) for key, value in kwargs.items()})

        def again(value: Tensor) -> Tensor:
            return value.repeat(blocks, *[1] * (value.dim() - 1))

        return map_tensors(block, _any, again), True

    def _changed_weights(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        change: Tensor,
    ) -> Tensor:
        rows, weight = args[0], args[1]
        first = rows.shape[0] // self.layout.blocks if self.layout.reference else 0
        spiking = func(rows[first:], weight + change, *args[2:], **kwargs)
        if not first:
            return spiking
        return torch.cat([func(rows[:first], weight, *args[2:], **kwargs), spiking])

    def _refuse_training(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        training = False
        if name == "batch_norm":
            training = kwargs.get("training", args[5] if len(args) > 5 else False)
        elif "dropout" in name and name != "_dropout_identity":
            default = not name.startswith(("alpha", "feature_alpha"))  # as torch.nn.functional
            given = args[2] if len(args) > 2 else kwargs.get("train", default)
            training = kwargs.get("training", given)
        if training:
            raise UnsupportedModelError(
                f"'{name}' at '{self._label(name)}' runs in training mode; call .eval() on it "
                "(a batch norm without running statistics must be replaced)"
            )

    def _label(self, name: str) -> str:
        base = name.rstrip("_") or name
        if self._leaf[-1]:
            return self._path[-1]
        return f"{self._path[-1]}.{base}" if self._path[-1] else base

    def _name(self, name: str) -> str:
        label = self._label(name)
        self._calls[label] += 1
        return label if self._calls[label] == 1 else f"{label}@{self._calls[label]}"

    def _memory(self, name: str) -> str:
        """Names what a stepwise run remembers of a call that is no site."""
        label = f"{self._label(name)}:{name}"
        self._memories[label] += 1
        return f"{label}@{self._memories[label]}"

    @contextmanager
    def _module_paths(self) -> Iterator[None]:
        handles = []

        def enter(path: str, leaf: bool) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                self._path.append(path)
                self._leaf.append(leaf)

            return hook

        def leave(*_: Any) -> None:
            self._path.pop()
            self._leaf.pop()

        for path, module in self.module.named_modules():
            leaf = not any(True for _ in module.children()) and bool(path)
            handles.append(module.register_forward_pre_hook(enter(path, leaf), prepend=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def average_version(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Returns average pooling in place of a max pooling call (the option `max_pool="average"`)."""
    base = name.removesuffix("_with_indices")
    if base in {"max", "amax"}:
        dim = args[1] if len(args) > 1 else kwargs["dim"]
        keepdim = args[2] if len(args) > 2 else kwargs.get("keepdim", False)
        return args[0].mean(dim, keepdim=keepdim)
    pool = getattr(nn.functional, base.replace("max", "avg"))
    if base.startswith("adaptive"):
        size = args[1] if len(args) > 1 else kwargs["output_size"]
        return pool(args[0], size)
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    options = {**dict(zip(names, args[1:], strict=False)), **kwargs}
    options = {key: options[key] for key in ("kernel_size", "stride", "padding") if key in options}
    return pool(args[0], **options, ceil_mode=bool(kwargs.get("ceil_mode", False)))


def _static(tensor: Tensor) -> bool:
    trace = trace_of(tensor)
    return trace is not None and trace.static


def _linear_here(name: str, args: tuple[Any, ...], traced: list[Tensor]) -> bool:
    """A product is linear if at most one factor changes from step to step."""
    if name in functions.DIVISION:
        numerator, denominator = (args[1], args[0]) if name == "__rtruediv__" else args[:2]
        return isinstance(numerator, Tensor) and not (
            isinstance(denominator, Tensor) and trace_of(denominator) is not None
        )
    return len(traced) == 1 or sum(not _static(tensor) for tensor in traced) == 1


def _row_dim(tensor: Tensor) -> int:
    trace = trace_of(tensor)
    return trace.row_dim if trace is not None else 0


def _any(_: Tensor) -> bool:
    return True


def _gives_indices(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return name == "max" or name.endswith("_with_indices") or bool(kwargs.get("return_indices"))


def _mark_base(view: Tensor) -> None:
    """Tells the tensor that a view was taken of that it has been changed through the view."""
    base, known = view._base, trace_of(view)
    if base is not None and known is not None:
        before = trace_of(base) or known
        static = before.static and known.static
        set_trace(base, replace(before, static=static, producer=None, tag=None))


def _constant_weight(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    weight = args[1] if len(args) > 1 else kwargs.get("weight")
    return isinstance(weight, Tensor) and trace_of(weight) is None


def _pools(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name not in {"max", "amax"}:
        return True
    second = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("other"))
    if second is None or isinstance(second, Tensor):
        return False
    dims = second if isinstance(second, tuple | list) else (second,)
    return 0 not in dims and -args[0].dim() not in dims


def _channel_dim(traced: list[Tensor]) -> int:
    trace = trace_of(traced[0])
    return trace.channel_dim if trace is not None else 1


def _propagated(
    func: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    traced: list[Tensor],
    static: bool,
) -> Trace:
    """What is known of the result of a linear operation."""
    first = trace_of(traced[0])
    assert first is not None
    source = traced[0]
    channel_dim = dimensions.moved_channels(func, name, args, kwargs, source, first.channel_dim)
    row_dim = dimensions.moved_rows(func, name, args, kwargs, source, first.row_dim)
    producer = first.producer
    if name == "batch_norm":
        producer = _scaled(producer, args, kwargs)
        channel_dim = 1
    elif name in functions.MATRIX_PRODUCT and args[0] is source and source.dim() > 2:
        channel_dim, producer = -1, None
    elif name.strip("_") in {"add", "iadd", "radd"}:
        producer = next(
            (known.producer for t in traced if (known := trace_of(t)) and known.producer), None
        )
    elif name not in {"contiguous", "clone", "dropout"}:
        producer = None
    return Trace(static=static, channel_dim=channel_dim, row_dim=row_dim, producer=producer)


def _scaled(
    producer: Producer | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Producer | None:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum")
    options = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(args) > 7:
        options["eps"] = args[7]
    if producer is None or options.get("running_var") is None:
        return None
    scale = torch.rsqrt(options["running_var"] + options.get("eps", 1e-5))
    if options.get("weight") is not None:
        scale = scale * options["weight"]
    return replace(producer, scale=producer.scale * scale.detach())


def _mark_all(result: Any, known: Trace, args: tuple[Any, ...], tag: Any = None) -> Any:
    """Attaches knowledge to every tensor of a result (and to a tensor changed in place)."""
    if isinstance(result, Tensor):
        if result.is_floating_point():
            set_trace(result, replace(known, tag=tag))
            if args and result is args[0]:
                _mark_base(result)
    elif isinstance(result, list | tuple):
        for index, item in enumerate(result):
            item_tag = tag[index] if isinstance(tag, list | tuple) else tag
            _mark_all(item, known, (), item_tag)
    elif result is None and args and isinstance(args[0], Tensor):
        set_trace(args[0], replace(known, tag=None, producer=None))
        _mark_base(args[0])
    return result
