"""The audit: which operators need no multiplication, judged by what was measured, never by a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from hardware_models.workload import SYNAPTIC, Form, Layer, Operand, Operator, Workload

Verdict = Literal[
    "accumulate-only",
    "multiply-accumulate",
    "mask only",
    "neuron",
    "normalisation",
    "addition of potentials",
    "other",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_VALUES = {
    "binary": "{0, 1}",
    "ternary": "{−1, 0, 1}",
    "integer": "small integers",
    "power-of-two": "{0, ±2^-k}",
    "float": "floating point",
}
_BY_OPERATOR: dict[str, Verdict] = {
    "neuron": "neuron",
    "norm": "normalisation",
    "add": "addition of potentials",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OperandForm(_Frozen):
    """How one operand is represented; the attributes are those of `hardware_models.workload.Operand`.

    Attributes:
        density: mean share of non-zero values over the timesteps.
    """

    name: str
    role: Literal["activation", "weight"]
    form: Form
    bits: int
    signed: bool
    scale: float
    levels: int = 0
    density: float

    @property
    def values(self) -> str:
        """The values in words, for example `{0, 1} × 0.25`; of powers of two the factor is the largest."""
        factor = self.scale * 2 ** max(0, self.levels - 1)
        scaled = self.form != "float" and factor != 1
        words = _VALUES[self.form] if self.signed else _VALUES[self.form].replace("±", "")
        return f"{words} × {factor:g}" if scaled else words

    @property
    def words(self) -> str:
        """The whole operand in words, for example `input: {0, 1}, 1 bit, unsigned`."""
        sign = "signed" if self.signed else "unsigned"
        values = f"{self.bits}-bit float" if self.form == "float" else f"{self.values}, {self.bits} bit"
        return f"{self.name}: {values}, {sign}"


class AuditRow(_Frozen):
    """What one operator does; counts are means per inference.

    Attributes:
        name: the layer's name.
        operator: its kind; `op` is the operation as it was seen.
        operands: the form of everything it reads.
        verdict: what it needs; `reason` says why, in a few words.
        dense_macs: multiply-accumulates if nothing were skipped.
        macs: multiply-accumulates executed.
        acs: accumulates executed.
        share: its part of all synaptic operations (macs + acs); None for an operator that has no synapses.
    """

    name: str
    operator: Operator
    op: str
    operands: tuple[OperandForm, ...]
    verdict: Verdict
    reason: str
    dense_macs: float
    macs: float
    acs: float
    share: float | None


class AccumulateOnlyShare(_Frozen):
    """How much of a network needs no multiplication; None where there is nothing to take a share of.

    Attributes:
        of_operations: share of the synaptic operations (macs + acs) that were executed.
        of_dense_macs: share of the multiply-accumulates that the same layers take when nothing is skipped.
    """

    of_operations: float | None
    of_dense_macs: float | None


def audit(workload: Workload) -> list[AuditRow]:
    """Judge every layer of a workload, in execution order."""
    total = sum(layer.macs + layer.acs for layer in workload.synaptic_layers())
    return [_row(layer, workload.batch, total) for layer in workload.layers]


def accumulate_only_share(workload: Workload) -> AccumulateOnlyShare:
    """Return the share of the synaptic operations that belongs to accumulate-only layers."""
    layers = list(workload.synaptic_layers())

    def share(count: Callable[[Layer], int]) -> float | None:
        total = sum(count(layer) for layer in layers)
        free = sum(count(layer) for layer in layers if _is_accumulate_only(layer))
        return free / total if total else None

    return AccumulateOnlyShare(
        of_operations=share(lambda layer: layer.macs + layer.acs),
        of_dense_macs=share(lambda layer: layer.dense_macs),
    )


def _row(layer: Layer, batch: int, total: int) -> AuditRow:
    verdict, reason = _judge(layer)
    return AuditRow(
        name=layer.name,
        operator=layer.operator,
        op=layer.op,
        operands=tuple(_form(operand) for operand in layer.operands),
        verdict=verdict,
        reason=reason,
        dense_macs=layer.dense_macs,
        macs=layer.macs / batch,
        acs=layer.acs / batch,
        share=(layer.macs + layer.acs) / total if layer.operator in SYNAPTIC and total else None,
    )


def _form(operand: Operand) -> OperandForm:
    return OperandForm(
        name=operand.name,
        role=operand.role,
        form=operand.form,
        bits=operand.bits,
        signed=operand.signed,
        scale=operand.scale,
        levels=operand.levels,
        density=operand.mean_density,
    )


def _driver(layer: Layer) -> Operand | None:
    """The operand that is said to drive the accumulates, if it was measured."""
    return next((operand for operand in layer.operands if operand.name == layer.driven_by), None)


def _is_accumulate_only(layer: Layer) -> bool:
    """Whether the figures agree: an operand that was seen to be spikes drives it, nothing was multiplied."""
    driver = _driver(layer)
    return layer.operator in SYNAPTIC and layer.macs == 0 and driver is not None and driver.is_spikes


def _judge(layer: Layer) -> tuple[Verdict, str]:
    if layer.operator in SYNAPTIC:
        return _judge_synaptic(layer)
    if layer.operator == "mask":
        return _judge_mask(layer)
    return _BY_OPERATOR.get(layer.operator, "other"), _reason(layer)


def _judge_synaptic(layer: Layer) -> tuple[Verdict, str]:
    driver = _driver(layer)
    if _is_accumulate_only(layer) and driver:
        if not any(driver.nonzero):
            return "accumulate-only", f"{driver.name} was silent: nothing to add"
        kind = "spikes" if driver.role == "activation" else "low-bit"
        shifts = ", shifted accumulates" if driver.form == "power-of-two" else ""
        return "accumulate-only", f"{driver.name} is {kind}: {_form(driver).values}{shifts}"
    real = [operand.name for operand in layer.operands if operand.role == "activation" and not operand.is_spikes]
    if real:
        return "multiply-accumulate", f"{' and '.join(real)} held values that are not spikes"
    if layer.macs and layer.driven_by is None and any(operand.form == "integer" for operand in layer.operands):
        widths = " x ".join(str(operand.bits) for operand in layer.operands)
        return "multiply-accumulate", f"integers of {widths} bits are multiplied"
    return (
        "multiply-accumulate",
        "products were computed although operands are spikes" if layer.macs else "no spikes drive it",
    )


def _judge_mask(layer: Layer) -> tuple[Verdict, str]:
    if layer.macs == 0 and layer.operands and all(operand.is_spikes for operand in layer.operands):
        return "mask only", "spikes select spikes, element by element"
    if any(operand.form == "power-of-two" for operand in layer.operands):
        return "other", "spikes shift values, element by element: no multiplication"
    return "other", "an element-wise product in which not every operand is spikes"


def _reason(layer: Layer) -> str:
    spikes_only = bool(layer.operands) and all(operand.is_spikes for operand in layer.operands)
    match layer.operator:
        case "neuron":
            return f"fires {_form(layer.output).values}" if layer.output else "charge, fire, reset"
        case "norm" if "batch_norm" in layer.op:
            return "folds into its convolution at inference"
        case "norm":
            return "computes its statistics at inference too, so it does not fold"
        case "add":
            return "adds spikes: the sum is no longer binary" if spikes_only else "adds membrane potentials"
        case "pool" | "reduce":
            return "over spikes" if spikes_only else "over real values"
    return "element-wise arithmetic"
