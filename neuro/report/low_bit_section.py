"""A network that was quantized: how near it is, how small, and what became of each of its operators."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from neuro.records import LowBitOperator, LowBitRecord
from neuro.report.cells import Cell, Table, Title, heads
from neuro.report.documents import RunDocuments
from neuro.report.figures import exact, percent

KIND_WORDS = {
    "synapse": "weights",
    "product": "product",
    "add": "sum",
    "scale": "times a constant",
    "reduce": "sums and means",
    "move": "moves values",
    "nonlinear": "function",
    "norm": "BatchNorm, in float",
    "kept": "KEPT IN FLOAT, as asked",
}
"""What an operator is, for people."""


@dataclass(frozen=True)
class LowBitSection:
    """The section of a page; `lead` is sentences."""

    lead: str
    operators: Table


def low_bit_section(documents: RunDocuments) -> LowBitSection | None:
    """Return the section; None for a run of another kind."""
    record = documents.record.low_bit
    return None if record is None else LowBitSection(lead(record), operators_table(record))


def lead(record: LowBitRecord) -> str:
    """How near the variant is to the float network, and how small."""
    quantized = Counter(one.kind for one in record.operators if one.weight or one.inputs)
    held = ", ".join(f"{count} {KIND_WORDS[kind]}" for kind, count in quantized.items())
    kept = sum(one.kind == "kept" for one in record.operators)
    small, large = (f"{bits / 8 / 1024:.0f} KiB" for bits in (record.stored_bits, record.float_bits))
    return (
        f"{record.recipe} ({record.method}): {record.summary}. Quantized: {held}; {kept} kept in float. Output error "
        f"{record.output_error:.2e}, same answer as float on {percent(record.agreement, 1)} of "
        f"{record.compared_samples} samples. {small} against {large}, 1/{record.float_bits / record.stored_bits:.1f}."
    )


def operators_table(record: LowBitRecord, every: bool = True) -> Table:
    """Every operator that was met, or those that are quantized or kept: how weight and operands are held, its error."""
    titles: list[Title] = ["#", "Module", "Operator", "Kind", "Weight", "Reads", "Error"]
    body = [
        [
            Cell(str(n), "", "num dim"),
            Cell(one.path, "", "name"),
            Cell(one.operator),
            Cell(KIND_WORDS[one.kind], "", "prose"),
            Cell(one.weight, "", "lines"),
            Cell("\n".join(one.inputs), "", "lines"),
            _error(one),
        ]
        for n, one in enumerate(record.operators, 1)
        if every or one.weight or one.inputs or one.kind == "kept"
    ]
    return Table("What became of each operator", heads(titles, text=(1, 2, 3, 4, 5)), body)


def _error(one: LowBitOperator) -> Cell:
    if one.error is None:
        return Cell("-", "", "num missing")
    return Cell(f"{one.error:.1e}", exact(one.error), "num")
