"""`neuro bench`: its table of choices, and bad requests. Speeds are not asserted anywhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest
import torch

from neuro.bench import Setting, memory, models, neurons, peers, products, tables
from neuro.bench.case import Case, Contender, Result, run
from neuro.cli import main
from neuro.models.neurons import neuron_factory
from neuro.neurons import LIF


def test_every_operator_ends_with_its_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--explain", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    operators = {row["operator"] for row in rows}
    assert {"lif", "spike_linear"} <= operators
    for operator in operators:
        last = [row for row in rows if row["operator"] == operator and row["device"] == "cpu"][-1]
        assert last["implementation"] == "reference"
        assert last["refuses"] == ""


def test_a_gpu_kernel_says_why_it_is_not_taken_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--explain", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    refused = [row["refuses"] for row in rows if row["implementation"] == "triton" and row["device"] == "cpu"]
    assert refused
    assert all(refused)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bench", "liff"], "unknown table 'liff'; did you mean 'lif'"),
        (["bench", "--rounds", "0"], "--rounds was 0"),
        (["bench", "--device", "gpu"], "--device was 'gpu'; give cpu, cuda or cuda:N"),
        (["bench", "--device", "mps"], "--device was 'mps'; give cpu, cuda or cuda:N"),
        (["bench", "--device", "cuda:99"], "--device was 'cuda:99'; this machine has"),
    ],
)
def test_bad_requests(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_contenders_run_in_turn_and_a_missing_one_is_named() -> None:
    order: list[str] = []
    case = Case(
        "a case",
        lambda: order.append("ours"),
        [Contender("other", lambda: order.append("other"), goal=1e9), Contender("absent", None, "not installed", 2.0)],
    )
    other, absent = run(case, rounds=2)
    # One round to see who can; then each runs untimed before it is timed.
    assert order == ["ours", "other"] + ["ours", "ours", "other", "other"] * 2
    assert other.unit == "s"
    assert other.ours is not None
    assert 0 < other.ours < 1
    assert other.met is False
    assert (absent.ratio, absent.met, absent.missing) == (None, None, "not installed")


def test_a_contender_that_fails_says_why_and_stops_nobody() -> None:
    def fails() -> None:
        raise RuntimeError("no compiler\nand a long story")

    ran: list[str] = []
    failed, other = run(Case("a case", lambda: None, [Contender("fails", fails), _other(ran)]), rounds=3)
    assert (failed.missing, failed.ratio) == ("RuntimeError: no compiler", None)
    assert (other.missing, len(ran)) == ("", 1 + 2 * 3)


def _other(ran: list[str]) -> Contender:
    return Contender("other", lambda: ran.append("other"))


@pytest.mark.parametrize(("unit", "met"), [("s", True), ("bytes", False)])
def test_of_times_more_is_better_and_of_bytes_less(unit: str, met: bool) -> None:
    result = Result("a case", "other", 1.0, 2.0, 2.0, 0.5, unit)
    assert result.met is met
    assert result.to_document()["met"] is met


def _table(setting: Setting) -> Iterator[Result]:
    setting.say("This takes a while.")
    yield from run(Case("a case", lambda: None, [Contender("absent", None, "not installed", 2.0)]), setting.rounds)
    yield Result("memory", "plain", 1e6, 4e6, 0.25, 0.5, "bytes")
    yield Result("memory", "other", 1e6, 1e6, 1.0, 0.5, "bytes")


def test_a_line_a_result_and_the_versions_it_holds_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "TABLES", {"a": _table, "b": _table})
    monkeypatch.setattr("neuro.bench.TABLES", tables.TABLES)
    assert main(["bench", "b"]) == 0
    told = capsys.readouterr()
    machine, absent, met, missed = told.out.splitlines()
    assert f"torch {torch.__version__}" in machine
    assert absent == "a case against absent: not measured: not installed"
    assert met == "memory against plain: 1 MB against 4 MB, ratio 0.25, goal at most 0.5: ok"
    assert missed.endswith("ratio 1.00, goal at most 0.5: MISSED")
    assert "This takes a while." in told.err
    assert main(["bench", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["versions"]["torch"] == torch.__version__
    assert [row["met"] for row in document["results"]] == [None, True, False] * 2
    assert {row["unit"] for row in document["results"]} == {"s", "bytes"}


def test_a_table_of_the_command_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "HEADS", (2, 1, 2, 5, 3))
    monkeypatch.setattr(torch, "compile", lambda function: function)
    assert main(["bench", "gemm", "sdsa", "--rounds", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert len(rows) == 3
    assert all(row["ours"] > 0 and row["theirs"] > 0 and row["ratio"] > 0 for row in rows)
    assert [row["goal"] for row in rows] == [8.0, None, None]  # the latter's are for a GPU


def test_goals_are_those_of_the_device() -> None:
    cpu = Setting("cpu", 1, print)
    gpu = copy.copy(cpu)
    object.__setattr__(gpu, "device", "cuda")  # no GPU is needed to know its goals
    assert (cpu.goal(8.0, 2.0), cpu.goal(gpu=2.0), gpu.goal(8.0, 2.0)) == (8.0, None, 2.0)
    assert (cpu.dtype, gpu.dtype) == (torch.float32, torch.bfloat16)


# --- what is compared does the same ---


def test_fused_and_layers_of_the_table_agree() -> None:
    torch.manual_seed(0)
    x, residual = torch.randn(2, 4, 3, 8, 5, 5)
    x, residual = x.movedim(1, 2), residual.movedim(1, 2)
    fused, layers = neurons.Fused(x.shape[2]), neurons.Layers(x.shape[2], neurons.plain_loop)
    for ours, theirs in zip(fused(x, residual), layers(x, residual), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)
    torch.testing.assert_close(fused.bn.running_var, layers.bn.running_var)
    assert torch.equal(neurons.plain_loop(x), LIF()(x))


def test_attention_of_the_table_is_the_operators_attention() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.rand(3, 4, 2, 2, 7, 5) < 0.6).float()
    expected = products.attention(q, k, v)
    assert 0.1 < expected.mean() < 0.9
    assert torch.equal(products.fused_attention(q, k, v), expected)


def test_the_networks_of_the_table_are_one_network() -> None:
    pytest.importorskip("spikingjelly")
    setting = Setting("cpu", 1, print)
    ours, image = models.network(setting, neuron_factory("lif"), "tiny", 16)
    theirs, same_image = models.network(setting, peers.spikingjelly_lif, "tiny", 16)
    assert torch.equal(image, same_image)
    with torch.no_grad():
        logits = ours.eval()(image)
        assert logits.std() > 0
        torch.testing.assert_close(theirs.eval()(image), logits, atol=1e-5, rtol=0)


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    step = memory.Step("tiny", 8, 16)
    plain, packed = memory.measured("plain", step), memory.measured("packed", step)
    assert isinstance(plain, memory.Usage)
    assert isinstance(packed, memory.Usage)
    assert packed.kept < 0.5 * plain.kept
    assert packed.gradients == plain.gradients
    assert plain.process > plain.step > 0
    refused = memory.measured("plain", memory.Step("none", 8, 16))
    assert isinstance(refused, str)
    assert "unknown variant of spikeformer_v2 'none'" in refused


def test_the_peers_of_the_table_compute_the_same_spikes() -> None:
    pytest.importorskip("spikingjelly")
    pytest.importorskip("snntorch")
    torch.manual_seed(0)
    x = torch.randn(4, 64) * 2
    ours = LIF()(x)
    assert torch.equal(peers.run_spikingjelly(peers.spikingjelly_lif())(x), ours)
    # snnTorch's neuron does not divide its input by tau: it is timed on the same shapes, on other dynamics.
    assert peers.run_snntorch()(x).shape == ours.shape
