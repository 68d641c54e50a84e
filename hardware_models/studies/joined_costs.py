"""Costs of several chips and links put together, and what they say with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardware_models.engine import Question
from hardware_models.estimate import Estimate
from hardware_models.studies.links import Link
from hardware_models.totals import Floats


def all_known(
    question: Question,
    estimates: Sequence[Estimate],
    transfers: Sequence[tuple[Link, Floats | None]],
    refused: dict[Question, str],
) -> Floats | None:
    """Return what chips and links cost, `[chips + links, 3]`; None, with the reason in `refused`, if one is silent."""
    for one in estimates:
        if total_of(one, question) is None:
            refused[question] = f"chip {one.chip.name!r} does not tell: {one.refused.get(question, 'no figures')}"
            return None
    silent = next((link for link, costs in transfers if costs is None), None)
    if silent is not None:
        refused[question] = f"link {silent.name!r} does not tell: it lacks figures"
        return None
    return np.array([*(total_of(one, question) for one in estimates), *(costs for _, costs in transfers)])


def throughput(latencies: Floats) -> Floats:
    """Return inferences in a second, `[3]`, of stages that take `latencies` `[stages, 3]`."""
    fewest: Floats = 1 / latencies.max(axis=0)[[0, 2, 1]]
    return fewest


def what_estimates_say(estimates: Sequence[Estimate]) -> list[str]:
    """Return what estimates take for granted and leave out, each sentence once."""
    said = dict.fromkeys(sentence for one in estimates for sentence in one.assumptions)
    for one in estimates:
        for reason in dict.fromkeys(one.left_out.values()):
            names = [name for name, why in one.left_out.items() if why == reason]
            said[f"{one.chip.name} leaves out {', '.join(names)}: {reason}."] = None
    return list(said)


def total_of(found: Estimate, question: Question) -> Floats | None:
    """Return the joules or seconds of an estimate, `[3]`; None where its chip does not tell."""
    return found.total_energy_j if question == "energy" else found.total_latency_s
