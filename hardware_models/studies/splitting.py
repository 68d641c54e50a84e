"""One network cut into consecutive parts over several chips with links between them, and the best places to cut.

Part k runs on chip k; link k carries what crosses between parts k and k + 1:

    energy     = sum of the parts' estimates + sum of bits x energy per bit
    latency    = sum of the parts' + sum of (messages x time of a message + bits / bandwidth)
    throughput = 1 / the slowest part or link: each works on a sample of its own
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from hardware_models.chip import Chip
from hardware_models.engine import Question, Run
from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.cuts import best_cuts
from hardware_models.studies.joined_costs import all_known, throughput, total_of, what_estimates_say
from hardware_models.studies.links import Link
from hardware_models.studies.parts import Cut, Part, PartCosts
from hardware_models.totals import Floats
from hardware_models.workload import Workload

Goal = Literal["latency", "energy", "throughput"]

ASSUMPTIONS: Final = (
    "A part sends when it is done with a sample, a tensor as one message (step by step: one for each timestep).",
    "What reaches the network from outside, and its result, cross no link and are not counted.",
    "Chips and links draw nothing beside what their estimates count while they wait for one another.",
)


@dataclass(frozen=True, eq=False)
class Split:
    """One network on several chips; `[3]` is value, low and high, every figure at its end at once.

    Attributes:
        parts: in order.
        cuts: between them.
        energy_j: joules of one inference, `[3]`; None where a chip or link does not tell.
        latency_s: seconds of one inference from end to end, `[3]`, in the same way.
        throughput_per_s: inferences in a second with all parts at work, `[3]`, in the same way.
        refused: questions whose answer is None, with the reason.
        assumptions: one sentence each.
    """

    parts: tuple[Part, ...]
    cuts: tuple[Cut, ...]
    energy_j: Floats | None
    latency_s: Floats | None
    throughput_per_s: Floats | None
    refused: dict[Question, str]
    assumptions: tuple[str, ...]


def split(
    workload: Workload,
    chips: Sequence[Chip],
    links: Link | Sequence[Link],
    goal: Goal = "latency",
    run: Run | None = None,
    begin_at: Collection[str] | None = None,
    may_leave_out: Collection[str] = (),
    weights_on_chip: bool = False,
) -> Split:
    """Cut `workload` into one part for each of `chips`, in their order, where it is best for `goal`.

    The cuts are the best that there are (`best_cuts`), judged by values, not by bands. Each part that may be needed is
    estimated: for three and more chips about half the square of the number of layers.

    Args:
        workload: the network, the consumers of its layers named.
        chips: one for each part.
        links: one behind each chip but the last, or one kind for all.
        goal: what is best: least `latency` or `energy` of an inference, or most `throughput`.
        run: how each part is executed; None for timesteps in batches.
        begin_at: names of layers that a part may begin with; None for all.
        may_leave_out: convolutions, linear layers and products that a chip may leave to a host, not counted; any other
            must run on its chip.
        weights_on_chip: whether the weights of a part must fit `onchip.capacity` of its chip.

    Raises:
        InputError: a wrong number of links; a chip or link that does not tell what `goal` asks; `weights_on_chip` with
            a chip that states no capacity; names that are no layers; a cut where nothing is known to cross; no cuts
            that the chips can run, with the reason of one part.
    """
    if goal not in get_args(Goal):
        raise unknown_name("goal", goal, get_args(Goal))
    names = [layer.name for layer in workload.layers]
    for given in (may_leave_out, begin_at or ()):
        for name in given:
            if name not in names:
                raise unknown_name("layer", name, names)
    question: Question = "energy" if goal == "energy" else "latency"
    _check_chips(workload, chips, question)
    links = _links(links, len(chips))
    costs = PartCosts(workload, chips, links, run or Run(), may_leave_out, weights_on_chip)
    places, said = _places(costs, begin_at) if len(chips) > 1 else ([], [])

    def part_cost(index: int, start: int, stop: int) -> float:
        part = costs.part(index, start, stop)
        return math.inf if isinstance(part, str) else _value(total_of(part.estimate, question))

    def cut_cost(index: int, place: int) -> float:
        cut = costs.cut(index, place, question)
        return _value(cut.energy_j if question == "energy" else cut.latency_s)

    found = best_cuts(places, len(names), len(chips), part_cost, cut_cost, goal == "throughput")
    if found is None:
        raise _no_split(costs)
    return _split(costs, (0, *found, len(names)), said)


def _check_chips(workload: Workload, chips: Sequence[Chip], question: Question) -> None:
    if not chips:
        raise InputError("a network was to be split over no chips; give at least one.")
    if len(workload.layers) < len(chips):
        raise InputError(
            f"{workload.name!r} has {len(workload.layers)} layers for {len(chips)} chips; give fewer chips."
        )
    for chip in chips:
        if question in chip.refuses:
            raise InputError(f"chip {chip.name!r} refuses {question} ({chip.refuses[question]}); choose another.")


def _links(links: Link | Sequence[Link], chips: int) -> tuple[Link, ...]:
    given = (links,) * (chips - 1) if isinstance(links, Link) else tuple(links)
    if len(given) != chips - 1:
        raise InputError(f"{len(given)} links were given for {chips} chips; give {chips - 1}, or one kind for all.")
    return given


def _places(costs: PartCosts, begin_at: Collection[str] | None) -> tuple[list[int], list[str]]:
    """Where parts may begin: where something is known to cross; and what is to be said of other places."""
    begins = costs.names if begin_at is None else begin_at
    wanted = [place for place in range(1, len(costs.names)) if costs.names[place] in begins]
    known = [place for place in wanted if costs.crossings(place)]
    unknown = [costs.names[place] for place in wanted if not costs.crossings(place)]
    if unknown and (begin_at is not None or not known):
        raise InputError(
            f"no layer of {costs.workload.name!r} from {unknown[0]!r} on is known to read one before it, so what "
            "crosses a cut there is not known; name the consumers of its layers, or begin elsewhere."
        )
    return known, [f"No part begins with {', '.join(unknown)}: what would cross is not known."] if unknown else []


def _no_split(costs: PartCosts) -> InputError:
    reasons = costs.reasons
    said = f" ({reasons[-1]}; {len(reasons)} parts in all cannot run)" if reasons else ""
    return InputError(
        f"{costs.workload.name!r} cannot be cut into {len(costs.chips)} parts that their chips run{said}; give other "
        "chips, more of them, or more layers to begin at."
    )


def _split(costs: PartCosts, bounds: Sequence[int], said: Sequence[str]) -> Split:
    asked = [costs.part(index, *bounds[index : index + 2]) for index in range(len(costs.chips))]
    parts = tuple(part for part in asked if isinstance(part, Part))
    cuts = tuple(costs.cut(index, place) for index, place in enumerate(bounds[1:-1]))
    refused: dict[Question, str] = {}
    estimates = [part.estimate for part in parts]
    energies = all_known("energy", estimates, [(cut.link, cut.energy_j) for cut in cuts], refused)
    latencies = all_known("latency", estimates, [(cut.link, cut.latency_s) for cut in cuts], refused)
    return Split(
        parts=parts,
        cuts=cuts,
        energy_j=None if energies is None else energies.sum(axis=0),
        latency_s=None if latencies is None else latencies.sum(axis=0),
        throughput_per_s=None if latencies is None else throughput(latencies),
        refused=refused,
        assumptions=(*ASSUMPTIONS, *said, *map(_in_words, cuts), *what_estimates_say(estimates)),
    )


def _value(total: Floats | None) -> float:
    return math.inf if total is None else float(total[0])


def _in_words(cut: Cut) -> str:
    tensors = [
        f"{' + '.join(one.layers)}, {one.elements} x {one.timesteps} values of {one.bits_per_value} bits as "
        f"{one.encoding} ({one.bits:.0f} bits)"
        for one in cut.crossings
    ]
    return f"Before {cut.before!r} crosses {'; '.join(tensors)}."
