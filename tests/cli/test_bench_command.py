"""`neuro bench`: its table of choices, and bad requests. Speeds are not asserted anywhere."""

from __future__ import annotations

import json

import pytest
import torch

from neuro.bench.case import Case, Contender, run
from neuro.cli import main


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
    [(["bench", "liff"], "unknown table 'liff'; did you mean 'lif'"), (["bench", "--rounds", "0"], "--rounds was 0")],
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
    assert order == ["ours", "other"] * 3  # one round to warm up
    assert other.met is False
    assert (absent.ratio, absent.met, absent.missing) == (None, None, "not installed")


def test_the_peers_of_the_table_compute_the_same_spikes() -> None:
    pytest.importorskip("spikingjelly")
    pytest.importorskip("snntorch")
    from neuro.bench import peers
    from neuro.neurons import LIF

    torch.manual_seed(0)
    x = torch.randn(4, 64) * 2
    ours = LIF()(x)
    assert torch.equal(peers.run_spikingjelly(peers.spikingjelly_lif())(x), ours)
    # snnTorch's neuron does not divide its input by tau: it is timed on the same shapes, on other dynamics.
    assert peers.run_snntorch()(x).shape == ours.shape
