"""What axes and objectives are called on the page, and their units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hardware_models.chip import Chip
from hardware_models.engine import FigureSpec, engine
from hardware_models.studies.evaluation import FIGURE
from hardware_models.studies.software import PREFIX

_OBJECTIVES: Final = {
    "energy_j": ("Energy", "J"),
    "latency_s": ("Latency", "s"),
    "energy_delay_js": ("Energy x delay", "Js"),
    "synaptic_operations": ("Synaptic operations", ""),
    "macs": ("Multiply-accumulates", ""),
}


@dataclass(frozen=True)
class Name:
    """An axis or objective for people.

    Attributes:
        name: in the study.
        label: on the page.
        unit: base unit of its values; empty for counts, shares and words.
    """

    name: str
    label: str
    unit: str = ""

    def to_document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def objective_name(name: str) -> Name:
    """Return what the objective `name` is called; one that is not known keeps its name and has no unit."""
    label, unit = _OBJECTIVES.get(name, (name.replace("_", " ").capitalize(), ""))
    return Name(name, label, unit)


def axis_name(name: str, chips: Iterable[Chip]) -> Name:
    """Return what the axis `name` is called; a figure has the unit that the engines of `chips` read it in."""
    if not name.startswith(FIGURE):
        return Name(name, name.removeprefix(PREFIX).replace("_", " "))
    figure = name.removeprefix(FIGURE)
    units = {spec.unit for one in chips for spec in _specs(one) if spec.matches(figure)}
    unit = units.pop() if len(units) == 1 else ""
    return Name(name, figure, "" if unit == "1" else unit)


def labels(names: Mapping[str, Name], point: Mapping[str, Any], text: Mapping[str, str]) -> str:
    """Return `label text` for each axis of `point` that has a value, in words."""
    return ", ".join(f"{names[axis].label} {text[axis]}" for axis, value in point.items() if value is not None)


def _specs(chip: Chip) -> tuple[FigureSpec, ...]:
    specs: tuple[FigureSpec, ...] = engine(chip.engine).FIGURES
    return specs
