"""From hand-written lines, one for each layer, to the layers of a Workload.

Lines follow each other unless `from` names what one reads. As in a measured Workload, edges run between synaptic and
neuron layers; normalization, pools, additions and the like are passed through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hardware_models.errors import InputError, unknown_name
from hardware_models.inputs.entries import Entries
from hardware_models.inputs.layer_kinds import ALIASES, ALL_KEYS, DEFAULTABLE, KEYS, KINDS, NEURONS, Kind
from hardware_models.inputs.layer_shapes import (
    Producer,
    Shape,
    check_elements,
    conv_bounds,
    input_shape,
    linear_bounds,
    matmul_bounds,
    window,
)
from hardware_models.inputs.layer_signals import (
    INPUT,
    RIGHT,
    Read,
    activation_signal,
    fired_signal,
    weight_signal,
)
from hardware_models.inputs.operands import Signal, activation, operations, samples_for, weight, weight_elements
from hardware_models.workload import SYNAPTIC, Bounds, Layer, Operand, Operator, Workload

NETWORK_INPUT = "input"
"""The name in `from` that stands for what the network reads."""


@dataclass
class _Spec:
    """A layer before its counts are known, since these need the number of samples."""

    name: str
    operator: Operator
    op: str
    timesteps: int
    out_elements: int
    bounds: Bounds | None = None
    signals: dict[str, tuple[Signal, int]] = field(default_factory=dict)
    fired: Signal | None = None
    result_bits: int | None = None
    consumers: dict[str, None] = field(default_factory=dict)


class _Result(NamedTuple):
    """What a line hands on: its shape, the layers that its values come from, its spikes or stated width."""

    name: str
    shape: Shape
    sources: tuple[_Spec, ...]
    read: Read


def workload_from_lines(
    name: str,
    timesteps: int,
    defaults: Entries,
    lines: Iterable[tuple[str, Mapping[str, object]]],
    notes: tuple[str, ...] = (),
) -> Workload:
    """Return the Workload that hand-written lines describe.

    Args:
        name: the network's name.
        timesteps: T; a layer may state its own.
        defaults: what holds where a layer says nothing.
        lines: (place for messages, keys and values) of each layer, in execution order.
        notes: what the reader of the figures has to know.

    Raises:
        InputError: a key or kind is unknown, a figure is missing or cannot be, or sizes do not fit; the message
            names the layer.
    """
    fallback = {_canonical(key): value for key, value in defaults.given.items()}
    Entries(defaults.place, fallback, {}).only(DEFAULTABLE, "default", ALL_KEYS)
    network = _Network(timesteps)
    for place, given in lines:
        network.add(_entries(place, given, fallback))
    if not network.specs:
        raise InputError(f"{defaults.place}: it holds no layers; add at least one.")
    signals = [s for spec in network.specs for s, _ in spec.signals.values()]
    batch = samples_for([*signals, *(spec.fired for spec in network.specs if spec.fired)])
    return Workload(
        name=name,
        timesteps=timesteps,
        batch=batch,
        layers=tuple(_layer(spec, batch) for spec in network.specs),
        notes=(*notes, *_remarks(network.specs, batch)),
    )


def _canonical(key: str) -> str:
    return ALIASES.get(key, key)


def _entries(place: str, given: Mapping[str, object], defaults: Mapping[str, object]) -> Entries:
    """Return a line's entries under the keys' own names."""
    named: dict[str, object] = {}
    for key, value in given.items():
        if value is None:
            continue
        own = _canonical(key)
        if own in named:
            raise InputError(f"{place}: {own} is given twice, as {key} too; keep one.")
        named[own] = value
    return Entries(place, named, defaults)


class _Network:
    """The lines read so far."""

    def __init__(self, timesteps: int) -> None:
        self.timesteps = timesteps
        self.specs: list[_Spec] = []
        self._results: dict[str, _Result] = {}
        self._last: _Result | None = None

    def add(self, entries: Entries) -> None:
        """Read one line."""
        word = entries.word("kind", KINDS)
        if word is None:
            entries.missing("kind", "telling what it computes")
        kind = KINDS[word]
        name = entries.text("name")
        if name is None:
            entries.missing("name", "telling its figures apart")
        if name == NETWORK_INPUT:
            entries.refuse(f"the name {NETWORK_INPUT!r} stands for what the network reads; choose another.")
        entries.only(KEYS[kind.family], word, ALL_KEYS)
        producers = self._producers(entries)
        timesteps = entries.timesteps() or self.timesteps
        spec, shape = _spec(entries, name, kind, timesteps, producers)
        self._append(entries, spec, shape, producers)
        model = entries.word("neuron", (*NEURONS, "none")) if kind.family != "neuron" else None
        if model not in (None, "none"):
            fired = fired_signal(entries, timesteps)
            neuron = _Spec(f"{name}.{model}", "neuron", str(model), timesteps, shape.elements, fired=fired)
            self._append(entries, neuron, shape, [self._results[name]])
            self._results[name] = self._results[neuron.name]
        elif kind.family != "neuron":
            for key in ("rate", "unit_rate", "output"):
                if entries.given.get(key) is not None:
                    entries.refuse(f"{key} belongs to a neuron, but it has none; add neuron, or remove it.")

    def _producers(self, entries: Entries) -> list[_Result]:
        """Return what the line reads; nothing stands for the network's input."""
        stated = entries.raw("from")
        if stated is None:
            return [self._last] if self._last else []
        names = [part.strip() for part in stated.split(";")] if isinstance(stated, str) else stated
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            entries.refuse(f"from is {stated!r}; give a layer's name, or several.")
        for name in names:
            if name != NETWORK_INPUT and name not in self._results:
                reason = unknown_name("layer in from", name, _near(name, self._results))
                entries.refuse(f"{reason} A layer reads what stands above it.")
        return [self._results[name] for name in names if name != NETWORK_INPUT]

    def _append(self, entries: Entries, spec: _Spec, shape: Shape, producers: list[_Result]) -> None:
        if spec.name in self._results:
            entries.refuse(f"the name {spec.name!r} is given to a layer above; choose another.")
        through = spec.operator not in SYNAPTIC and spec.operator != "neuron"
        sources = {id(source): source for producer in producers for source in producer.sources}
        if not through:
            for source in sources.values():
                source.consumers[spec.name] = None
        bits = spec.fired.bits if spec.fired else spec.result_bits
        read = Read(spec.name, spec.fired, bits)
        self._last = _Result(spec.name, shape, tuple(sources.values()) if through else (spec,), read)
        self._results[spec.name] = self._last
        self.specs.append(spec)


def _near(name: str, known: Mapping[str, object]) -> list[str]:
    """Return a few of the known names, so that a message over a long network stays readable."""
    import difflib

    return difflib.get_close_matches(name, known, n=3, cutoff=0.5) or list(known)[-3:]


def _spec(entries: Entries, name: str, kind: Kind, timesteps: int, producers: list[_Result]) -> tuple[_Spec, Shape]:
    """Return one line's layer and the shape it gives, without a neuron behind it."""
    if kind.family == "matmul":
        return _product(entries, name, kind, timesteps, producers)
    given = [Producer(producer.name, producer.shape) for producer in producers]
    shape = input_shape(entries, given, rows=kind.family == "linear")
    if kind.operator in SYNAPTIC:
        bounds = (
            linear_bounds(entries, shape)
            if kind.family == "linear"
            else conv_bounds(entries, shape, kind.family == "depthwise", kind.family == "transposed")
        )
        read = producers[0].read if len(producers) == 1 else Read()
        signals = {
            "input": (activation_signal(entries, INPUT, timesteps, read), shape.elements),
            "weight": (weight_signal(entries), weight_elements(bounds)),
        }
        out = Shape(bounds.out_channels, bounds.out_size, kind.family == "linear")
        spec = _Spec(name, kind.operator, kind.op, timesteps, out.elements, bounds, signals)
    else:
        out = _plain_shape(entries, kind, shape)
        spec = _Spec(name, kind.operator, kind.op, timesteps, out.elements)
    if kind.family == "neuron":
        spec.fired = fired_signal(entries, timesteps)
    elif entries.given.get("neuron") is None:
        spec.result_bits = entries.size("output_bits")
    return spec, out


def _plain_shape(entries: Entries, kind: Kind, shape: Shape) -> Shape:
    """Return the shape that a layer without synapses gives."""
    if kind.family == "pool":
        return Shape(shape.channels, window(entries, shape.positions, pool=True).out)
    if kind.family == "global":
        return Shape(shape.channels, (1,) * len(shape.positions), shape.rows)
    if kind.family != "reduce":
        return shape
    out = entries.sizes("out")
    if out is None:
        entries.missing("out", "the sizes of the reduced result")
    return Shape(out[0], out[1:] or (1,))


def _product(entries: Entries, name: str, kind: Kind, timesteps: int, producers: list[_Result]) -> tuple[_Spec, Shape]:
    """Return a product of two activations; `from` names left and right, or one layer that gives both."""
    bounds = matmul_bounds(entries)
    sides = producers * 2 if len(producers) == 1 else producers
    if len(sides) not in (0, 2):
        entries.refuse(f"from names {len(sides)} layers; a matmul reads two, left and right.")
    (m, n, k), heads = bounds.gemm, bounds.groups
    sizes = {"left": heads * m * k, "right": heads * k * n}
    if len(producers) == 2:
        for (side, elements), producer in zip(sizes.items(), producers, strict=True):
            check_elements(entries, side, elements, Producer(producer.name, producer.shape))
    reads = [side.read for side in sides] or [Read(), Read()]
    signals = {
        side: (activation_signal(entries, keys, timesteps, read), sizes[side])
        for side, keys, read in zip(sizes, (INPUT, RIGHT), reads, strict=True)
    }
    out = Shape(heads * n, (m,), True)
    spec = _Spec(name, kind.operator, kind.op, timesteps, out.elements, bounds, signals)
    spec.result_bits = entries.size("output_bits") if entries.given.get("neuron") is None else None
    return spec, out


def _layer(spec: _Spec, batch: int) -> Layer:
    signals = {name: signal for name, (signal, _) in spec.signals.items()}
    none: tuple[int, tuple[int, ...], str | None] = 0, (), None
    macs, acs, driven_by = operations(spec.bounds, spec.timesteps, batch, signals) if spec.bounds else none
    return Layer(
        name=spec.name,
        operator=spec.operator,
        op=spec.op,
        timesteps=spec.timesteps,
        bounds=spec.bounds,
        operands=tuple(
            weight(signal, elements) if name == "weight" else activation(name, signal, elements, batch)
            for name, (signal, elements) in spec.signals.items()
        ),
        out_elements=spec.out_elements,
        macs=macs,
        acs=sum(acs),
        acs_by_timestep=acs,
        driven_by=driven_by,
        output=_output(spec, batch),
        consumers=tuple(spec.consumers),
    )


def _output(spec: _Spec, batch: int) -> Operand | None:
    """Return a neuron's spikes; of another layer, the stated width of values that nobody measured."""
    if spec.fired:
        return activation("output", spec.fired, spec.out_elements, batch)
    if spec.result_bits is None:
        return None
    bits, elements = spec.result_bits, spec.out_elements
    return Operand(name="output", bits=bits, signed=True, form="integer", elements=elements, nonzero=(), density=())


def _remarks(specs: list[_Spec], batch: int) -> list[str]:
    remarks = ["Written by hand: densities are stated, not measured, and taken as uniform over positions and channels."]
    if any(
        spec.bounds and all(set(s.density) == {1} and s.units is None for s, _ in spec.signals.values())
        for spec in specs
    ):
        remarks.append("Operands of integers or floating-point numbers without a stated density are taken as dense.")
    if batch > 1:
        remarks.append(f"Counts are stated over {batch} samples, so that they are whole numbers.")
    return remarks
