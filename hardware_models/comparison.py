"""Several forms of a network on several chips of different worlds, side by side.

A chip that cannot run a form says why, in its own row; it does not stop the others.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardware_models.chip import Chip, chip, chip_names, load_chip
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.layer_table import LayerTable

SCHEMA: Final = "neuro.chip-comparison/1"

DEFAULT_CHIPS: Final = (
    *("loihi1_nahuku", "loihi2", "truenorth", "spinnaker2"),
    *("eyeriss", "tpu_like", "jetson_orin_nano", "spikesim_65nm_rram"),
)
"""What is compared where nobody chose: neuromorphic chips, then dense accelerators, a GPU and an in-memory one."""


@dataclass(frozen=True)
class Answer:
    """What one chip says of one form of a network: an estimate, or why there is none."""

    form: str
    chip: Chip
    estimate: Estimate | None
    reason: str = ""


def find_chips(names: Sequence[str]) -> list[Chip]:
    """Return the chips called `names`: shipped ones, or files that end in .yaml; `all`, `default`
    and `none` are sets.

    Raises:
        InputError: an unknown name, or a file that is no chip.
    """
    found: dict[str, Chip] = {}
    for name in names:
        for member in {"all": chip_names(), "default": DEFAULT_CHIPS, "none": ()}.get(name, [name]):
            is_file = member.endswith((".yaml", ".yml"))
            loaded = load_chip(Path(member)) if is_file else chip(member)
            found[member] = loaded
    return list(found.values())


def compare(
    forms: Mapping[str, LayerTable], chips: Iterable[Chip], run: Run | None = None, samples: int = 0
) -> list[Answer]:
    """Estimate every form of a network on every chip, in the order given.

    Args:
        forms: the networks, by the name of the form.
        chips: the chips.
        run: how the network is executed; None for timesteps in batches.
        samples: Monte Carlo draws for the bands; 0 for the corners.
    """
    return [_answer(form, table, member, run, samples) for member in chips for form, table in forms.items()]


def _answer(form: str, table: LayerTable, member: Chip, run: Run | None, samples: int) -> Answer:
    try:
        return Answer(form, member, estimate(table, member, run, samples))
    except InputError as error:
        return Answer(form, member, None, str(error))


def to_document(answers: Sequence[Answer], layers: bool = False) -> dict[str, Any]:
    """Return the answers as plain data: totals, and on request every layer and figure."""
    return {"schema": SCHEMA, "answers": list(_rows(answers, layers))}


def _rows(answers: Sequence[Answer], layers: bool) -> Iterator[dict[str, Any]]:
    for answer in answers:
        about = {"form": answer.form, "chip": answer.chip.name, "title": answer.chip.title, "kind": answer.chip.kind}
        if answer.estimate is None:
            yield {**about, "reason": answer.reason}
        else:
            yield {**about, **(answer.estimate.to_document() if layers else answer.estimate.summary())}


def to_csv(answers: Sequence[Answer]) -> str:
    """Return one line for each chip and form with its totals in SI units; a cell without a figure is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["chip", "kind", "form", *_TOTALS, "weakest_evidence", "narrowed_layers", "reason"])
    for answer in answers:
        about = [answer.chip.name, answer.chip.kind, answer.form]
        found = answer.estimate
        if found is None:
            writer.writerow([*about, *[""] * len(_TOTALS), "", "", answer.reason])
            continue
        energy, latency = found.total_energy_j, found.total_latency_s
        ends = [end for values in (energy, latency) for end in ([""] * 3 if values is None else values.tolist())]
        writer.writerow([*about, *ends, found.grade, len(found.narrowed), "; ".join(found.refused.values())])
    return text.getvalue()


_TOTALS = ("energy_j", "energy_low_j", "energy_high_j", "latency_s", "latency_low_s", "latency_high_s")
