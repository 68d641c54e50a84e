"""How many attention heads an operation log stands for, and whether its stated totals agree with the result.

A log's rows do not give the heads, but the attention's share depends on them. They are taken, in this order,
from the caller; from a header line that names them; from the header's stated totals, which only one divisor
of C can reproduce; or from the published ImageNet models, whose heads are 64 channels wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.conventions.base import Priced
from hardware_models.errors import InputError
from hardware_models.tables.header import Stated, TableHeader

CHANNELS_PER_HEAD = 64
"""Width of a head in the published Spikformer and Spikingformer models for ImageNet."""

_PUBLISHED_EXCEPTIONS = {384: 8}
"""Channels of the published models that are built otherwise (energy_consumption_calculation/README.md), to
heads."""

LOG_PRECISION = 1e-7
"""Relative error that the rounding of logged operations to nine digits may leave in a total, with room to
spare."""


@dataclass(frozen=True)
class Attention:
    """The products of one attention block.

    Attributes:
        name: its row in the estimate.
        number: the block's number.
        channels: C.
        rows: T x N, tokens over all timesteps.
        rate: min(rate_k, rate_v) + rate_q.
    """

    name: str
    number: int
    channels: int
    rows: int
    rate: float

    def accumulates(self, heads: int) -> float:
        """Return T N heads d_h^2 (min(rate_k, rate_v) + rate_q)."""
        width = self.channels // heads
        return self.rows * heads * width * width * self.rate


def choose_heads(
    header: TableHeader, attention: list[Attention], counted: Priced, heads: int | None
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return the heads for each number of channels, and what has to be said about the choice.

    Args:
        header: the log's comment lines.
        attention: its attention blocks.
        counted: the operations of all rows, without attention: (MACs, price), (ACs, price).
        heads: the caller's word, or None.

    Raises:
        InputError: given heads that do not divide the channels, or heads that nothing tells.
    """
    widths = sorted({block.channels for block in attention})
    if not widths:
        return {}, _without_attention(header, heads)
    if heads is not None:
        return _given(heads, widths, "the caller")
    if header.heads is not None:
        return _given(header.heads, widths, "the header")
    if len(widths) == 1 and (single := _from_totals(header, attention, counted)) is not None:
        return {widths[0]: single}, (
            f"{single} heads: the table does not name them; of the divisors of {widths[0]} channels only "
            "this one gives the total that the header states.",
        )
    chosen = {width: _published(width) for width in widths}
    words = ", ".join(f"{count} heads for {width} channels" for width, count in chosen.items())
    return chosen, (
        f"{words}: the table does not name them; taken as in the published ImageNet models "
        f"({CHANNELS_PER_HEAD} channels a head where nothing else is known). "
        "Give --heads if the network differs.",
    )


def disagreements(header: TableHeader, attention: list[Attention], estimate: ConventionEstimate) -> Iterator[str]:
    """Yield one sentence for each statement of the header that the rows contradict."""
    unused = sorted(set(header.rates) - {block.number for block in attention})
    if attention and unused:
        blocks = ", ".join(map(str, unused))
        yield f"Warning: the header has rates of blocks without q_conv row, which are not counted: {blocks}."
    for block in attention:
        if header.timesteps and block.rows % header.timesteps:
            yield (
                f"Warning: the header says T={header.timesteps}, but block {block.number} projects "
                f"{block.rows} tokens over all timesteps, which is no multiple of it."
            )
    checks = (
        ("MACs", header.macs, estimate.macs),
        ("ACs", header.acs, estimate.acs),
        ("J", header.energy_j, estimate.energy_j),
    )
    for unit, stated, found in checks:
        if stated is not None and not _agrees(stated, found):
            total = f"{stated.value:.10g} {unit} in total"
            yield f"Warning: the header states {total}, but the rows give {found:.10g}."


def _agrees(stated: Stated, found: float) -> bool:
    return abs(stated.value - found) <= stated.rounding + LOG_PRECISION * abs(found)


def _without_attention(header: TableHeader, heads: int | None) -> tuple[str, ...]:
    remarks = ["No q_conv row, so no attention products are counted."]
    if header.rates:
        remarks.append(f"The header's firing rates of {len(header.rates)} attention blocks are not used.")
    if heads is not None:
        remarks.append(f"The given {heads} heads are not used.")
    return tuple(remarks)


def _given(heads: int, widths: list[int], by: str) -> tuple[dict[int, int], tuple[str, ...]]:
    for width in widths:
        if heads < 1 or width % heads:
            raise InputError(f"{heads} heads, given by {by}, do not divide {width} channels; give a divisor of them.")
    return dict.fromkeys(widths, heads), (f"{heads} heads, given by {by}.",)


def _from_totals(header: TableHeader, attention: list[Attention], counted: Priced) -> int | None:
    """Return the one divisor of C that reproduces a stated total; None where none or several do."""
    stated = _stated_acs(header, counted)
    if stated is None:
        return None
    width = attention[0].channels
    totals = {
        heads: counted.acs + sum(block.accumulates(heads) for block in attention)
        for heads in range(1, width + 1)
        if width % heads == 0
    }
    fitting = [heads for heads, total in totals.items() if _agrees(stated, total)]
    return fitting[0] if len(fitting) == 1 else None


def _stated_acs(header: TableHeader, counted: Priced) -> Stated | None:
    """Return the stated accumulates, or those that the stated energy leaves after the MACs."""
    if header.acs is not None or header.energy_j is None:
        return header.acs
    (macs, mac), (_, ac) = counted.prices
    left = header.energy_j.value - macs * mac.si
    return Stated(left / ac.si, header.energy_j.rounding / ac.si)


def _published(width: int) -> int:
    """Return the heads of the published model of this width; a width that has none is an `InputError`."""
    if width in _PUBLISHED_EXCEPTIONS:
        return _PUBLISHED_EXCEPTIONS[width]
    if width % CHANNELS_PER_HEAD:
        raise InputError(
            f"the log does not say how many heads its attention over {width} channels has; give --heads, or "
            "name them in a comment line such as '# heads: 8'."
        )
    return width // CHANNELS_PER_HEAD
