"""Networks of studies: made as the commands make them, once, and kept whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hardware_models.errors import InputError, RunError
from hardware_models.studies.software import Band
from hardware_models.workload import Workload
from neuro.experiments.evaluate import evaluate
from neuro.studies.cached import CachedNetworks, exact, share
from neuro.studies.profiled import ProfiledNetworks
from neuro.studies.trained import TrainedNetworks

SMALL = {"overrides": {"widths": [8, 8, 8, 8]}, "timesteps": 2}


class Counting(CachedNetworks):
    """Makes an empty network and counts how often."""

    kind = "counting"
    axes = ("a", "b")
    figures = ("sum",)
    made = 0

    def make(self, point: Mapping[str, Any], folder: Path) -> tuple[Workload, dict[str, Band]]:
        type(self).made += 1
        (folder / "more.txt").write_text("kept")
        if point["a"] < 0:
            raise InputError("a was negative; give more.")
        return Workload(name="none", timesteps=1, batch=1, layers=()), {"sum": exact(point["a"] + point["b"])}


def test_a_network_is_made_once_for_all_who_ask(tmp_path: Path) -> None:
    Counting.made = 0
    for _ in range(2):
        answer = Counting({"x": 1}, tmp_path).answer({"a": 1, "b": 2})
        assert answer.figures["sum"] == (3.0, 3.0, 3.0)
    assert Counting.made == 1
    Counting({"x": 2}, tmp_path).answer({"b": 2, "a": 1})
    assert Counting.made == 2
    assert len(list(tmp_path.glob("*/more.txt"))) == 2


def test_what_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a was negative"):
        Counting({}, tmp_path).answer({"a": -1, "b": 2})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_network_is_refused(tmp_path: Path) -> None:
    Counting({}, tmp_path).answer({"a": 1, "b": 2})
    (place,) = tmp_path.iterdir()
    (place / "figures.json").write_text("{")
    with pytest.raises(RunError, match="delete that folder"):
        Counting({}, tmp_path).answer({"a": 1, "b": 2})


def test_an_unknown_axis_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="axis of counting networks"):
        Counting({}, tmp_path).answer({"c": 1})


def test_a_share_has_its_standard_error() -> None:
    assert share(0.5, 100) == pytest.approx((0.5, 0.45, 0.55))
    assert share(1.0, 10) == (1.0, 1.0, 1.0)


def test_a_profiled_network_has_the_accuracy_and_spikes_of_its_evaluation(tmp_path: Path) -> None:
    given = {"model": {"variant": "0.4m", "surrogate_alpha": 2.0, "weights": "hub:digits-spiking"}, "image_size": 28}
    networks = ProfiledNetworks(given, tmp_path)
    record = evaluate("hub:digits-spiking")
    for timesteps in (1, 4):
        row = next(row for row in record.rows if row.timesteps == timesteps)
        figures = networks.answer({"timesteps": timesteps}).figures
        assert figures["accuracy"][0] == pytest.approx(row.accuracy)
        assert row.spikes is not None
        assert figures["spikes"][0] == pytest.approx(row.spikes, rel=0.02)  # merged: rounding tips some potentials


def test_without_weights_there_is_no_accuracy_and_a_parent(tmp_path: Path) -> None:
    networks = ProfiledNetworks({"model": SMALL, "samples": 2}, tmp_path)
    assert "accuracy" not in networks.figures
    spiking, parent = (networks.answer({"form": form}) for form in ("spiking", "float"))
    assert spiking.figures["spikes"][0] > 0
    assert parent.figures["spikes"][0] == 0
    assert parent.figures["macs"][0] > spiking.figures["macs"][0]


@pytest.mark.parametrize(
    ("document", "point", "message"),
    [
        ({"modle": {}}, {}, "model"),
        ({"model": {"name": "spikeformer"}}, {}, "spikeformer_v2"),
        ({}, {"form": "spikin"}, "spiking"),
        ({"samples": 0}, {}, "software.samples was 0"),
        ({"model": {"weights": "hub:digits"}}, {}, "digits-spiking"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, document: dict[str, Any], point: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ProfiledNetworks(document, tmp_path).answer(point)


def test_a_trained_network_is_trained_by_its_recipe(tmp_path: Path) -> None:
    given = {
        "config": "digits-spiking",
        "set": {
            "model": {**SMALL, "variant": "tiny"},
            "data": {"train_limit": 50, "test_limit": 20, "image_size": 16},
            "training": {"phases": [], "batch_size": 25, "channels_last": False},
        },
        "samples": 2,
    }
    networks = TrainedNetworks(given, tmp_path)
    found = networks.answer({"training.epochs": 1, "seed": 3})
    (record,) = tmp_path.glob("*/run/training.json")
    kept = json.loads(record.read_text())
    assert found.figures["accuracy"][0] == kept["history"][-1]["test_accuracy"]
    assert kept["seed"] == 3
    assert found.figures["parameters"][0] == kept["parameters"]
