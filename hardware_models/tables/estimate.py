"""Energy of an operation log under the `spikingformer` convention, layer by layer.

    row at 100 %:     MACs as logged (dense operations where none are logged)
    any other row:    ACs as logged (dense operations x rate where none are logged)
    attention block:  ACs = T N heads d_h^2 (min(rate_k, rate_v) + rate_q),  d_h = C / heads

The log gives C and T N through the block's `q_conv` row: its dense operations are T N C_in C_out. The number
of heads is in no row; `choose_heads` says where it is taken from.
"""

from __future__ import annotations

import math

from hardware_models.convention_estimate import ConventionEstimate, ConventionLayer
from hardware_models.conventions.base import Priced
from hardware_models.conventions.spikingformer import Spikingformer
from hardware_models.errors import InputError
from hardware_models.tables.header import Rates
from hardware_models.tables.heads import LOG_PRECISION, Attention, choose_heads, disagreements
from hardware_models.tables.operation_table import OperationTable, TableRow

TABLE_CONVENTION = Spikingformer.name
"""The convention whose counts an operation log holds."""

FULL_RATE_TOLERANCE_PERCENT = 1e-4
"""How near to 100 % a rate has to be to count as dense, as in the source's code."""


def estimate_table(table: OperationTable, heads: int | None = None) -> ConventionEstimate:
    """Return the energy of one inference, attention blocks as rows of their own.

    Args:
        table: an operation log.
        heads: attention heads; None to take them from the log.

    Raises:
        InputError: a row whose operations cannot be told, an attention block without rates, heads that do not
            divide the channels.
    """
    rules = Spikingformer()
    rows = [(row, _price_row(table, rules, row)) for row in table.rows]
    attention = _attention_blocks(table)
    counted = rules.priced(sum(p.macs for _, p in rows), sum(p.acs for _, p in rows), "all rows")
    chosen, remarks = choose_heads(table.header, attention, counted, heads)
    layers = _with_attention(rows, attention, chosen, rules)
    estimate = ConventionEstimate(
        subject=table.name,
        convention=rules.name,
        sources=rules.sources,
        layers=tuple(layers),
        assumptions=(
            *rules.assumptions[:2],
            "A row at 100 % counts its MACs, any other row its ACs.",
            *remarks,
        ),
    )
    stated = disagreements(table.header, attention, estimate)
    return estimate.model_copy(update={"assumptions": (*estimate.assumptions, *stated)})


def _price_row(table: OperationTable, rules: Spikingformer, row: TableRow) -> Priced:
    """Price one row by its rate, or, without one, by the only kind of operation that it logs."""
    if row.rate_percent is None:
        if row.macs and not row.acs:
            return rules.priced(row.macs, 0.0, "MAC: as logged, no rate")
        if row.acs and not row.macs:
            return rules.priced(0.0, row.acs, "AC: as logged, no rate")
        raise InputError(
            f"{table.name}, line {row.line}: layer {row.layer!r} has no rate, and its acs and macs do not "
            "tell which of them counts; fill in rate_percent."
        )
    if math.isclose(row.rate_percent, 100.0, rel_tol=0.0, abs_tol=FULL_RATE_TOLERANCE_PERCENT):
        if row.macs is None:
            return rules.priced(row.dense_ops, 0.0, "MAC: dense operations, rate 100 %")
        return rules.priced(row.macs, 0.0, "MAC: as logged, rate 100 %")
    if row.acs is None:
        return rules.priced(0.0, row.dense_ops * row.rate_percent / 100.0, f"AC: dense x {row.rate_percent:g} %")
    return rules.priced(0.0, row.acs, f"AC: as logged, rate {row.rate_percent:g} %")


def _attention_blocks(table: OperationTable) -> list[Attention]:
    """Return the attention block of each `q_conv` row; one without rates, or rates without one, is an
    `InputError`."""
    blocks = []
    for row in table.rows:
        if row.layer.endswith("q_conv"):
            rates = table.header.rates.get(-1 if row.block is None else row.block)
            if rates is None:
                raise InputError(
                    f"{table.name}, line {row.line}: {row.layer!r} belongs to an attention block whose "
                    "firing rates the header does not give; add a comment line "
                    f"'# firing rate of q,k,v in block {row.block or 0}: ...' with the three rates."
                )
            blocks.append(_attention(table, row, rates))
    return blocks


def _attention(table: OperationTable, row: TableRow, rates: Rates) -> Attention:
    weights = row.in_channels * row.out_channels
    if not weights:
        raise InputError(
            f"{table.name}, line {row.line}: {row.layer!r} needs in_channels and out_channels, from which "
            "the size of its attention follows; fill them in."
        )
    # Where the projection has a bias, the log counts it: T N (C_in C_out + C_out).
    rows = _whole(row.dense_ops / weights) or _whole(row.dense_ops / (weights + row.out_channels))
    if rows is None:
        raise InputError(
            f"{table.name}, line {row.line}: the {row.dense_ops:g} dense_ops of {row.layer!r} are no "
            f"multiple of its {row.in_channels} x {row.out_channels} channels, so the number of tokens is "
            "unknown; mend one of them."
        )
    return Attention(
        name=row.layer.removesuffix("q_conv") + "q(k^T v)",
        number=row.block or 0,
        channels=row.out_channels,
        rows=rows,
        rate=min(rates.k, rates.v) + rates.q,
    )


def _whole(value: float) -> int | None:
    """Return the whole number that `value` is, up to the rounding of a log; None where it is none."""
    return round(value) if math.isclose(value, round(value), rel_tol=LOG_PRECISION, abs_tol=0.0) else None


def _with_attention(
    rows: list[tuple[TableRow, Priced]],
    attention: list[Attention],
    heads: dict[int, int],
    rules: Spikingformer,
) -> list[ConventionLayer]:
    """Return the rows in order, each attention block after the last of its q, k, v projections."""
    layers = [priced.layer_estimate(row.layer, row.kind) for row, priced in rows]
    for block in attention:
        acs = block.accumulates(heads[block.channels])
        rule = f"AC: T N heads d_h^2 (min(k,v) + q) with {heads[block.channels]} heads, rates {block.rate:.6g}"
        priced = rules.priced(0.0, acs, rule)
        projections = [block.name.replace("q(k^T v)", f"{letter}_conv") for letter in "qkv"]
        last = max(index for index, layer in enumerate(layers) if layer.name in projections)
        layers.insert(last + 1, priced.layer_estimate(block.name, "matmul"))
    return layers
