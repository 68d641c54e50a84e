"""Spike rates by layer and timestep, and the curves of training."""

from __future__ import annotations

from dataclasses import dataclass

from neuro.records import EpochRecord
from neuro.report import charts
from neuro.report.cells import PERCENT, Cell, Table, Title, heads, number, percent_cell, percent_head
from neuro.report.documents import RunDocuments
from neuro.report.figures import Column, exact, is_number, percent
from neuro.report.layers import LayerRates, firing_rates

_RATE = Column("", "", 0, 3)
_NAMES = {"low-bit": "Low-bit", "float": "Float parent", "spiking": "Spiking"}


@dataclass(frozen=True)
class HeatColumn:
    """One neuron layer of the heat map: the colour step of each timestep."""

    label: str
    x: float
    width: float
    steps: list[int]


@dataclass(frozen=True)
class RatesView:
    """Spike rate by layer and timestep."""

    lead: str
    timesteps: int
    columns: list[HeatColumn]
    legend: list[tuple[int, str]]
    x_ticks: list[charts.Tick]
    spans: list[charts.Span]
    table: Table


@dataclass(frozen=True)
class Curve:
    """One plot of training: lines over epochs, and what to say of each epoch."""

    title: str
    lines: list[charts.Line]
    y_ticks: list[tuple[float, str]]
    x_ticks: list[charts.Tick]
    labels: list[str]


@dataclass(frozen=True)
class TrainingView:
    """Curves and table of training; `kinds` are (CSS class, name) for the legend."""

    kinds: list[tuple[str, str]]
    curves: list[Curve]
    table: Table


def rates_view(documents: RunDocuments) -> RatesView | None:
    """Spike rates of the merged form; None for a network without neurons."""
    layers = firing_rates(documents.workloads[documents.inference_form])
    if not layers:
        return None
    scale = charts.heat_scale(max((rate for layer in layers for rate in layer.rates), default=0.0))
    places = charts.columns(len(layers), gap=0.0)
    return RatesView(
        lead=_rates_lead(layers),
        timesteps=max(len(layer.rates) for layer in layers) or 1,
        columns=[
            _heat_column(n, layer, *place, scale)
            for n, (layer, place) in enumerate(zip(layers, places, strict=True), 1)
        ],
        legend=[
            (0, "0"),
            *((charts.shade(i, len(scale)), f"to {end:.3g}") for i, end in enumerate(scale, 1)),
        ],
        x_ticks=charts.index_ticks(len(layers)),
        spans=charts.spans([layer.name for layer in layers]),
        table=_rates_table(layers),
    )


def _heat_column(n: int, layer: LayerRates, x: float, width: float, scale: list[float]) -> HeatColumn:
    rates = " ".join(f"{rate:.3f}" for rate in layer.rates) or "not measured"
    mean = f" · mean {layer.mean:.3f}" if is_number(layer.mean) else ""
    steps = [charts.heat_step(rate, scale) for rate in layer.rates]
    return HeatColumn(f"{n} · {layer.name} · {rates}{mean}", x, width, steps)


def _rates_lead(layers: list[LayerRates]) -> str:
    measured = [layer for layer in layers if layer.rates]
    if not measured:
        return "No neuron layer's output was measured."
    low, high = (pick(measured, key=lambda layer: layer.mean) for pick in (min, max))
    lead = f"Means lie between {low.mean:.3f} ({low.name}) and {high.mean:.3f} ({high.name})."
    silent = [layer.name for layer in measured if not any(layer.rates)]
    if silent:
        return f"{lead} {len(silent)} of {len(measured)} neuron layers never fired: {', '.join(silent)}."
    return f"{lead} Every one of the {len(measured)} neuron layers fired."


def _rates_table(layers: list[LayerRates]) -> Table:
    timesteps = max(len(layer.rates) for layer in layers)
    titles: list[Title] = [
        "#",
        "Layer",
        "Neurons",
        *(f"t = {t}" for t in range(1, timesteps + 1)),
        "Mean",
        percent_head("Busiest channel"),
    ]
    body = [
        [
            Cell(str(n), "", "num dim"),
            Cell(layer.name, "", "name"),
            Cell(f"{layer.neurons}", "", "num"),
            *(number(_RATE, rate) for rate in layer.rates),
            *(Cell("-", "", "num missing") for _ in range(timesteps - len(layer.rates))),
            number(_RATE, layer.mean),
            number(PERCENT, layer.busiest, "-"),
        ]
        for n, layer in enumerate(layers, 1)
    ]
    return Table("Spikes per neuron in each timestep", heads(titles, text=(1,)), body)


def training_view(documents: RunDocuments) -> TrainingView | None:
    """Curves of every network that was trained; None where none was."""
    training = {key: epochs for key, epochs in documents.record.training.items() if epochs}
    if not training:
        return None
    losses: dict[str, list[tuple[int, float | None]]] = {
        key: [(e.epoch, e.loss) for e in epochs] for key, epochs in training.items()
    }
    tests = {key: [(e.epoch, e.test_accuracy) for e in epochs] for key, epochs in training.items()}
    curves = [_curve("Loss", losses, 0.0, share=False)]
    if any(value is not None for points in tests.values() for _, value in points):
        curves.append(_curve("Test accuracy", tests, None, share=True))
    kinds = [(_kind(key), _NAMES.get(key, key)) for key in training]
    return TrainingView(kinds, curves, _training_table(training))


def _kind(key: str) -> str:
    """The class of its curve; a low-bit variant is drawn as a spiking one is."""
    return "spiking" if key == "low-bit" else key if key in _NAMES else "other"


def _curve(title: str, series: dict[str, list[tuple[int, float | None]]], start: float | None, share: bool) -> Curve:
    epochs = sorted({epoch for points in series.values() for epoch, _ in points})
    values = [v for points in series.values() for _, v in points if v is not None and is_number(v)]
    low, high, step = _axis(values, start, share)
    ends = (epochs[0] - 0.5, epochs[-1] + 0.5)
    shown = {key: dict(points) for key, points in series.items()}
    return Curve(
        title=title,
        lines=[charts.line(_kind(key), points, ends, (low, high)) for key, points in series.items()],
        y_ticks=[
            (tick.at, f"{100 * tick.value:.3g} %" if share else f"{tick.value:.3g}")
            for tick in charts.ticks(low, high, step)
        ],
        x_ticks=[charts.Tick(tick.at, epochs[int(tick.value) - 1]) for tick in charts.index_ticks(len(epochs))],
        labels=[_epoch_label(epoch, shown, share) for epoch in epochs],
    )


def _axis(values: list[float], start: float | None, share: bool) -> tuple[float, float, float]:
    """Ends and tick step of the y axis: from `start`, or from a round value below the smallest."""
    if not values:
        return 0.0, 1.0, 0.5
    if start is not None:
        return start, *charts.nice_top(max(values))
    high = 1.0 if share else max(values)
    _, step = charts.nice_top(max(high - min(values), 0.01))
    count = max(int((high - min(values)) / step + 1 - 1e-9), 1)
    return max(high - count * step, 0.0) if high - count * step > step / 2 else 0.0, high, step


def _epoch_label(epoch: int, shown: dict[str, dict[int, float | None]], share: bool) -> str:
    found = []
    for key, points in shown.items():
        value = points.get(epoch)
        if value is not None:
            found.append(f"{_NAMES.get(key, key)} {percent(value, 2) if share else f'{value:.4g}'}")
    return " · ".join([f"epoch {epoch}", *found])


def _training_table(training: dict[str, list[EpochRecord]]) -> Table:
    accuracies = (percent_head("Train accuracy"), percent_head("Test accuracy"))
    titles: list[Title] = ["Network", "Epoch", "Loss", *accuracies, "Learning rate", "Seconds"]
    body = [
        [
            Cell(_NAMES.get(key, key), "", "name"),
            Cell(str(epoch.epoch), "", "num"),
            Cell(f"{epoch.loss:.4f}", exact(epoch.loss), "num"),
            percent_cell(epoch.train_accuracy, "-"),
            percent_cell(epoch.test_accuracy, "-"),
            Cell(f"{epoch.learning_rate:.3g}", exact(epoch.learning_rate), "num"),
            Cell(f"{epoch.seconds:.1f}", exact(epoch.seconds), "num"),
        ]
        for key, epochs in training.items()
        for epoch in epochs
    ]
    return Table("Training by epoch", heads(titles, text=(0,)), body)
