"""Chips as data: what a file may say, and how a bad one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hardware_models.chip import Chip, chip, chip_names, load_chip
from hardware_models.engine import FigureSpec, engine
from hardware_models.errors import InputError
from hardware_models.quantity import Quantity
from hardware_models.scaling import scale_energy

GOOD: dict[str, Any] = {
    "schema": "neuro.chip/1",
    "name": "toy",
    "title": "a toy array",
    "kind": "accelerator",
    "engine": "systolic",
    "node": "1 um",
    "sources": ["nowhere"],
    "defaults": {"source": "a book", "grade": "assumed"},
    "figures": {
        "array": {"rows": 4, "cols": 2, "clock": {"value": 2, "unit": "MHz"}},
        "mac": {"energy": {"value": 3, "low": 2, "high": 5, "unit": "pJ", "grade": "silicon"}},
    },
    "settings": {"dataflow": "os", "precision": {"input_bits": 8, "weight_bits": 8}},
    "refuses": {"latency": "nobody measured it"},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes, sort_keys=False), encoding="utf-8")
    return path


def with_figure(name: str, figure: Any) -> dict[str, Any]:
    return {"figures": {**GOOD["figures"], name: figure}}


def test_figures_are_flat_and_take_what_the_defaults_say(tmp_path: Path) -> None:
    toy = load_chip(write(tmp_path))
    assert list(toy.figures) == ["array.rows", "array.cols", "array.clock", "mac.energy"]
    assert (toy.figures["array.rows"].value, toy.figures["array.rows"].unit) == (4, "1")
    assert toy.figures["array.clock"].si == 2e6
    assert toy.figures["array.clock"].grade == "assumed"
    assert toy.figures["mac.energy"].grade == "silicon"
    assert toy.figures["mac.energy"].si_band == pytest.approx((2e-12, 5e-12))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema": "neuro.chip/9"}, "has schema 'neuro.chip/9'; expected a chip of schema 'neuro.chip/1'"),
        ({"engine": "sistolic"}, "unknown engine 'sistolic'; did you mean 'systolic'"),
        (
            with_figure("mac", {"enrgy": {"value": 1, "unit": "pJ"}}),
            "figures.mac.enrgy is none that the systolic engine",
        ),
        (
            with_figure("mac", {"energy": {"value": 1, "unit": "ns"}}),
            "figures.mac.energy has unit ns; give one multiply",
        ),
        (with_figure("mac", {"energy": {"value": 1, "unit": "furlong"}}), "unit 'furlong' is unknown"),
        (
            with_figure("mac", {"energy": {"value": -1, "unit": "pJ"}}),
            "figures.mac.energy is -1e-12 J; give a positive",
        ),
        (with_figure("mac", {"energy": {"value": 9, "low": 1, "high": 2, "unit": "pJ"}}), "outside its band"),
        (with_figure("mac", {"energy": {"value": float("nan"), "unit": "pJ"}}), "is not finite"),
        (with_figure("mac", {"energy": {"value": 1, "unit": "J"}}), "reaches 1 J, beyond anything built"),
        (with_figure("array", {"rows": 2.5}), "figures.array.rows is 2.5; give a whole number of at least 1"),
        (with_figure("array", {"rows": 0}), "figures.array.rows is 0"),
        (with_figure("array", {"clock": {"value": 0, "unit": "Hz"}}), "give a positive figure"),
        (with_figure("mac", {"energy": {"value": 1, "unit": "pJ", "grade": "rumour"}}), "figures.mac.energy.grade"),
        ({"settings": {"dataflow": "os"}}, "precision"),
        (
            {"settings": {**GOOD["settings"], "precision": {"input_bits": 10**40, "weight_bits": 8}}},
            "less than or equal to 128",
        ),
        ({"settings": {**GOOD["settings"], "datflow": "os"}}, "unknown key 'datflow'; did you mean 'dataflow'?"),
        (
            {"settings": {**GOOD["settings"], "array": {"input": {"polciy": "gate"}}}},
            "settings: array.input.polciy: unknown key 'polciy'; did you mean 'policy'?",
        ),
        ({"nodes": "1 um"}, "nodes: unknown key 'nodes'; did you mean 'node'"),
        ({"node": 1}, "node: expected text, in quotes where YAML takes it for something else, not 1"),
        ({"sources": "a book"}, "sources: expected a list such as [a, b], not 'a book'"),
        (with_figure("mac", {"energy": {"value": 1, "unit": "pJ", "lo": 1}}), "did you mean 'low'"),
        (
            with_figure("accumulator", {"bits": 24}),
            "toy.yaml: figures.accumulator.bits has unit 1; give width of a partial sum as {value: 24, unit: bit}",
        ),
        (with_figure("mac", {"energy": {"value": 1}}), "figures.mac.energy.unit: it is missing; add it."),
        (with_figure("array", {"rows": -3}), "figures.array.rows is -3; give a positive figure"),
        (with_figure("array", {"rows": None}), "figures.array.rows.value: expected a number, not None"),
        (with_figure("mac", {"energy": {"value": True, "unit": "pJ"}}), "figures.mac.energy holds true or false"),
        (with_figure("mac", {"energy": {"value": 1, "high": float("inf"), "unit": "pJ"}}), "give a finite number"),
        (with_figure("mac", {"energy": {"value": 1, "unit": "pJ", "source": " "}}), "figures.mac.energy has no source"),
        (with_figure("array", {"rows": 10**40}), "figures.array.rows reaches 1e+40; give at most"),
        (with_figure("array.rows", 8), "figures.array.rows is given twice"),
        ({"refuses": {"latency": "no", "energy": "no"}}, "refuses every question"),
        ({"refuses": {"beauty": "no"}}, "refuses.beauty"),
        ({"sources": []}, "sources"),
        ({"defaults": ["a book"]}, "defaults: expected a mapping"),
        ({"figures": {"array": {"rows": "four"}}}, "figures.array.rows.value: expected a number, not 'four'"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_chip(write(tmp_path, **changes))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ".;" not in str(caught.value)


def test_a_count_in_powers_of_ten_is_a_number(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("rows: 4", "rows: 4e3"))  # YAML takes it for text
    assert load_chip(path).figures["array.rows"].value == 4000


def test_the_message_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, kind="teapot")
    with pytest.raises(InputError, match=r"toy\.yaml: kind: "):
        load_chip(path)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + "name: again\n")
    with pytest.raises(InputError, match="'name' is given twice"):
        load_chip(path)


def test_a_missing_figure_is_refused_by_name_with_what_it_is_for(tmp_path: Path) -> None:
    toy = load_chip(write(tmp_path))
    with pytest.raises(
        InputError, match=r"chip 'toy' has no figure 'dram\.energy', which is needed for DRAM transfers"
    ):
        toy.figure("dram.energy", "DRAM transfers")


def test_an_unknown_chip_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match="unknown chip 'generic45nm'; did you mean 'generic_45nm'"):
        chip("generic45nm")


@pytest.mark.parametrize("name", chip_names())
def test_every_shipped_chip_is_whole(name: str) -> None:
    shipped = chip(name)
    assert shipped.name == name
    assert shipped.title
    assert shipped.sources
    for figure in shipped.figures.values():
        assert figure.source
    for reason in shipped.refuses.values():
        assert len(reason) > 20


@pytest.mark.parametrize("name", chip_names())
def test_a_shipped_chip_reads_back_the_same(name: str) -> None:
    shipped = chip(name)
    assert Chip.model_validate_json(shipped.model_dump_json(by_alias=True)) == shipped


def test_a_pattern_stands_for_one_part_of_a_name() -> None:
    spec = FigureSpec("memory.*.capacity", "B", "size of a memory", "size")
    assert spec.matches("memory.dram.capacity")
    assert not spec.matches("memory.dram.bank.capacity")
    assert not spec.matches("memory.capacity")


def test_an_engine_declares_each_figure_once() -> None:
    names = [spec.name for spec in engine("systolic").FIGURES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("figure", "at_45_nm"),
    [("mac.energy", (0.3, 0.23, 0.6)), ("neuron.update_energy", (0.2, 0.1, 3.3))],
)
def test_scaled_figures_are_what_the_scaling_step_gives(figure: str, at_45_nm: tuple[float, float, float]) -> None:
    value, low, high = at_45_nm
    source = Quantity(value=value, low=low, high=high, unit="pJ", source="Horowitz 2014", grade="derived")
    scaled = scale_energy(source, 45, 32, 0.9, 0.9)
    shipped = chip("tpu_like").figures[figure]
    assert (shipped.value, *shipped.band) == pytest.approx((scaled.value, *scaled.band), rel=0.02)
