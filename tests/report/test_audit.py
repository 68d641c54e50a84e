"""Verdicts on hand-made layers, and the share of accumulate-only operations."""

import pytest

from hardware_models.workload import Bounds, Layer, Operand, Workload
from neuro.report import AuditRow, accumulate_only_share, audit

from .synthetic import neuron, operand, small_documents, weight

BOUNDS = Bounds(in_channels=16, out_channels=4, in_size=(1,), out_size=(1,))


def layer(operator: str, *operands: Operand, op: str = "aten.op", **more: object) -> Layer:
    bounds = BOUNDS if operator in ("conv", "linear", "matmul") else None
    fields = {
        "name": "x",
        "operator": operator,
        "op": op,
        "timesteps": 1,
        "bounds": bounds,
        "out_elements": 4,
    }
    return Layer(**(fields | {"operands": operands} | more))  # type: ignore[arg-type]


def judged(made: Layer, batch: int = 1) -> AuditRow:
    (row,) = audit(Workload(name="w", timesteps=1, batch=batch, layers=(made,)))
    return row


@pytest.mark.parametrize("form", ["binary", "ternary", "integer"])
def test_spikes_that_drive_a_product_make_it_accumulate_only(form):
    row = judged(layer("linear", operand("input", form), weight(64), acs=32, driven_by="input"))
    assert row.verdict == "accumulate-only"
    assert row.share == 1
    assert row.reason.startswith("input is spikes")


def test_low_bit_weights_drive_accumulates_too():
    low_bit = operand("weight", "ternary", (60,), 64, role="weight")
    row = judged(layer("linear", operand(), low_bit, acs=60, driven_by="weight"))
    assert (row.verdict, row.reason) == ("accumulate-only", "weight is low-bit: {−1, 0, 1}")


def test_a_silent_layer_is_accumulate_only_and_says_so():
    row = judged(layer("conv", operand("input", "binary", (0,)), weight(64), driven_by="input"))
    assert (row.verdict, row.reason) == ("accumulate-only", "input was silent: nothing to add")
    assert row.share is None  # nothing was executed, so there is nothing to share


@pytest.mark.parametrize(
    ("operands", "figures"),
    [
        ((operand(), weight(64)), {"macs": 64}),
        ((operand("input", "binary"), weight(64)), {"macs": 64}),
        ((operand("input", "binary"), weight(64)), {"macs": 64, "acs": 3, "driven_by": "input"}),
        # Claims that the measured operands do not bear out.
        ((operand(), weight(64)), {"acs": 64, "driven_by": "input"}),
        ((operand("input", "binary"), weight(64)), {"acs": 64, "driven_by": "spikes"}),
        ((operand("input", "binary"), weight(64)), {"acs": 64}),
    ],
)
def test_anything_less_is_multiply_accumulate(operands, figures):
    row = judged(layer("linear", *operands, **figures))
    assert row.verdict == "multiply-accumulate"
    assert row.reason


def test_a_name_changes_nothing():
    named = layer("linear", operand(), weight(64), macs=64, name="spike_accumulate_only_mask")
    assert judged(named).verdict == "multiply-accumulate"


def test_masks_need_spikes_on_every_side():
    spikes = operand("left", "binary"), operand("right", "binary")
    assert judged(layer("mask", *spikes)).verdict == "mask only"
    assert judged(layer("mask", spikes[0], operand("right"))).verdict == "other"
    assert judged(layer("mask")).verdict == "other"


@pytest.mark.parametrize(
    ("made", "verdict", "reason"),
    [
        (neuron("n", 4, (2,), 1), "neuron", "fires {0, 1}"),
        (
            layer("norm", op="aten.native_batch_norm"),
            "normalisation",
            "folds into its convolution at inference",
        ),
        (layer("norm", op="aten.native_layer_norm"), "normalisation", "does not fold"),
        (layer("add", operand()), "addition of potentials", "adds membrane potentials"),
        (layer("add", operand("a", "binary")), "addition of potentials", "no longer binary"),
        (layer("pool", operand("input", "binary")), "other", "over spikes"),
        (layer("reduce", operand()), "other", "over real values"),
        (layer("elementwise"), "other", "element-wise arithmetic"),
    ],
)
def test_operators_without_synapses(made, verdict, reason):
    row = judged(made)
    assert row.verdict == verdict
    assert reason in row.reason
    assert row.share is None


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (operand("input", "binary"), "input: {0, 1}, 1 bit, unsigned"),
        (operand("input", "binary", scale=-0.5, signed=True), "input: {0, 1} × -0.5, 1 bit, signed"),
        (operand("q", "ternary", scale=0.25), "q: {−1, 0, 1} × 0.25, 2 bit, signed"),
        (operand("k", "integer"), "k: small integers, 4 bit, unsigned"),
        (weight(4), "weight: 32-bit float, signed"),
    ],
)
def test_operands_in_words(made, words):
    (form,) = judged(layer("elementwise", made)).operands
    assert form.words == words


def test_counts_are_means_over_the_batch():
    row = judged(layer("linear", operand(batch=4), weight(64), macs=256), batch=4)
    assert (row.macs, row.acs, row.dense_macs) == (64, 0, 64)


def test_share_by_operations_and_by_dense_macs():
    share = accumulate_only_share(small_documents().workloads["spiking-merged"])
    assert share.of_operations == 240 / (1152 + 240)
    assert share.of_dense_macs == 640 / (576 + 640)


def test_shares_of_the_rows_add_up():
    workload = small_documents().workloads["spiking"]
    rows = audit(workload)
    assert sum(row.share or 0 for row in rows) == pytest.approx(1)
    free = sum(row.share or 0 for row in rows if row.verdict == "accumulate-only")
    assert free == pytest.approx(accumulate_only_share(workload).of_operations)


def test_no_synapses_no_share():
    share = accumulate_only_share(Workload(name="w", timesteps=1, batch=1, layers=(layer("add"),)))
    assert (share.of_operations, share.of_dense_macs) == (None, None)
