"""The document of an evaluation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from evaluated import CPU, labelled, spikeformer
from pydantic import ValidationError

from hardware_models.conventions import convention
from hardware_models.errors import InputError
from neuro.evaluation import (
    Confusion,
    Cost,
    EvaluationRecord,
    ExitPoint,
    Robustness,
    anytime_accuracy,
    confusion,
    costs,
    exit_sweep,
    robustness,
    standard_error,
    step_logits,
    timestep_rows,
)

COST = Cost(spikes=1234.0, firing_rate=0.125, sops=5.0e6, energy_j=3e-6, energy_low_j=2e-6, energy_high_j=4e-6)


def record(**changed: Any) -> EvaluationRecord:
    given: dict[str, Any] = {
        "model": "net",
        "dataset": "some|data",
        "dataset_source": "made here",
        "samples": 100,
        "seed": 7,
        "profiled_samples": 4,
        "convention": "horowitz45",
        "rows": timestep_rows({2: 0.8, 1: 0.5}, 100, {2: COST}),
        "early_exit": [ExitPoint(0.9, 0.75, 1.25, (75, 25))],
        "corruptions": Robustness(0.8, (1, 5), {"jpeg": (0.75, 0.5)}),
        "confusion": Confusion(((40, 10), (10, 40)), ("cat", "dog")),
        "notes": ["Of two classes."],
    }
    return EvaluationRecord(**(given | changed))


def test_standard_error_of_a_share() -> None:
    assert standard_error(0.5, 100) == pytest.approx(0.05)
    assert standard_error(0.8, 100) == pytest.approx(0.04)
    assert standard_error(1.0, 10) == 0.0


@pytest.mark.parametrize(("accuracy", "samples"), [(1.1, 10), (-0.1, 10), (0.5, 0), (float("nan"), 10)])
def test_what_is_no_share_is_refused(accuracy: float, samples: int) -> None:
    with pytest.raises(InputError, match=r"give a share in 0\.\.1"):
        standard_error(accuracy, samples)


def test_rows_rise_and_hold_what_was_measured() -> None:
    one, two = record().rows
    assert (one.timesteps, one.accuracy, one.standard_error) == (1, 0.5, pytest.approx(0.05))
    assert (one.spikes, one.firing_rate, one.energy_j) == (None, None, None)
    assert (two.timesteps, two.spikes, two.sops, two.energy_high_j) == (2, 1234.0, 5e6, 4e-6)
    with pytest.raises(InputError, match=r"costs were given at T = \[4\] without an accuracy"):
        timestep_rows({1: 0.5}, 10, {1: COST, 4: COST})


def test_written_and_read_again() -> None:
    written = record().model_dump_json(by_alias=True)
    assert json.loads(written)["schema"] == "neuro.evaluation/1"
    assert EvaluationRecord.model_validate_json(written) == record()
    bare = record(early_exit=[], corruptions=None, confusion=None, notes=[], profiled_samples=0, convention="")
    assert EvaluationRecord.model_validate_json(bare.model_dump_json(by_alias=True)) == bare


@pytest.mark.parametrize(
    "path",
    [(), ("rows", 0), ("early_exit", 0), ("corruptions",), ("confusion",)],
    ids=lambda path: ".".join(map(str, path)),
)
def test_unknown_entries_are_refused(path: tuple[Any, ...]) -> None:
    document = json.loads(record().model_dump_json(by_alias=True))
    place = document
    for key in path:
        place = place[key]
    place["unknown"] = 1
    with pytest.raises(ValidationError, match="unknown"):
        EvaluationRecord.model_validate(document)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": []}, "rows"),
        ({"rows": list(reversed(record().rows))}, "do not rise"),
        ({"samples": 99}, "early exit at 0.9 counts 100 samples of 99"),
        ({"confusion": Confusion(((1,),), ("cat",))}, "confusion matrix counts 1 samples of 100"),
        ({"rows": [{"timesteps": 1, "accuracy": float("nan"), "standard_error": 0.0}]}, "accuracy"),
        ({"rows": [{"timesteps": 1, "accuracy": 1.5, "standard_error": 0.0}]}, "accuracy"),
        ({"schema": "neuro.evaluation/2"}, "schema"),
    ],
)
def test_documents_that_contradict_themselves_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        record(**changed)


def test_as_markdown() -> None:
    text = record().to_markdown()
    assert text.startswith("# net on some\\|data\n\n100 samples, seed 7, 4 profiled, energy under horowitz45.\n")
    assert "| 1 | 50.00 % | 5.00 % | - | - | - | - | - |" in text
    assert "| 2 | 80.00 % | 4.00 % | 1.23 k | 0.1250 | 5.00 M | 3.00 µJ | 2.00 µJ to 4.00 µJ |" in text
    assert "| 0.9 | 75.00 % | 1.250 | 75 | 25 |" in text
    assert "| jpeg | 75.00 % | 50.00 % | 62.50 % |" in text
    assert "| cat | dog | 10 | 20.00 % |" in text
    assert "- Of two classes." in text


def test_a_whole_evaluation() -> None:
    model, split, rules = spikeformer(), labelled(24), convention("horowitz45")
    answers = step_logits(model, split, 3, CPU)
    images = next(split.batches(4, 1))[0][0]
    found = EvaluationRecord(
        model="spikeformer",
        dataset="noise",
        dataset_source="made here",
        samples=24,
        seed=0,
        profiled_samples=4,
        convention=rules.name,
        rows=timestep_rows(anytime_accuracy(answers), 24, costs(model, images, [1, 2, 3], rules)),
        early_exit=exit_sweep(answers, [0.5, 0.9]),
        corruptions=robustness(model, split, 3, CPU, ["contrast"]),
        confusion=confusion(answers),
    )
    assert found.confusion is not None
    assert found.rows[-1].accuracy == found.confusion.accuracy
    assert EvaluationRecord.model_validate_json(found.model_dump_json(by_alias=True)) == found
    assert "| 3 |" in found.to_markdown()
