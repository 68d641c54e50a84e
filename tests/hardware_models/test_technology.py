from pathlib import Path

import pytest
import yaml

from hardware_models.errors import InputError
from hardware_models.technology import load_technology, technology, technology_names

GOOD = """
schema: neuro.technology/1
name: toy
title: a toy
node: 1 um
source: nowhere
defaults: {unit: pJ, source: a book, grade: assumed}
figures:
  int8_add: {value: 2}
  dram_64b: {value: 5, low: 4, high: 7, unit: nJ}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# Horowitz, ISSCC 2014, in pJ, typed from the literature and not from the shipped file.
PUBLISHED = {
    "int8_add": 0.03,
    "int16_add": 0.05,
    "int32_add": 0.1,
    "fp16_add": 0.4,
    "fp32_add": 0.9,
    "int8_mul": 0.2,
    "int32_mul": 3.1,
    "fp16_mul": 1.1,
    "fp32_mul": 3.7,
    "sram_8k_64b": 10,
    "sram_32k_64b": 20,
    "sram_1m_64b": 100,
}


@pytest.mark.parametrize(("name", "picojoules"), PUBLISHED.items())
def test_horowitz_figures(name, picojoules):
    assert technology("horowitz45")[name].si == pytest.approx(picojoules * 1e-12, rel=1e-12)


def test_dram_is_a_range():
    assert technology("horowitz45")["dram_64b"].si_band == pytest.approx((1.3e-9, 2.6e-9))


def test_every_shipped_figure_has_conditions_source_and_grade():
    for name in technology_names():
        for figure in technology(name).figures.values():
            assert figure.conditions
            assert figure.source
            assert figure.grade


def test_defaults_fill_what_a_figure_lacks(tmp_path):
    toy = load_technology(written(tmp_path, GOOD))
    assert toy["int8_add"].source == "a book"
    assert toy["int8_add"].si == pytest.approx(2e-12)
    assert toy["dram_64b"].si_band == pytest.approx((4e-9, 7e-9))


def test_unknown_technology_gives_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'horowitz45'"):
        technology("horowitz-45")


def test_missing_figure_is_refused_by_name():
    with pytest.raises(InputError) as error:
        technology("horowitz45")["fp8_mul"]
    assert "'fp8_mul'" in str(error.value)
    assert "fp16_mul" in str(error.value)


def test_missing_figure_says_what_it_was_needed_for():
    with pytest.raises(InputError, match="needed for the stem"):
        technology("horowitz45").figure("fp8_mul", "the stem")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("value: 2}", "value: lots}", ["figures.int8_add.value", "number"]),
        ("value: 2}", "value: 2, high: 1}", ["figures.int8_add", "outside its band"]),
        ("value: 2}", "value: -2}", ["int8_add", "negative"]),
        ("value: 2}", "value: 2, grade: rumour}", ["figures.int8_add.grade"]),
        ("value: 2}", "value: 2, unit: pX}", ["figures.int8_add", "pX"]),
        ("value: 2}", "value: 2, unit: ns}", ["int8_add", "energy"]),
        ("value: 2}", "value: 2, colour: red}", ["figures.int8_add.colour"]),
        ("{value: 2}", "2", ["figures.int8_add"]),
        ("  dram_64b", "  int8_add", ["int8_add", "twice"]),
        ("node: 1 um\n", "", ["node"]),
        ("title: a toy", "title: [", ["not YAML"]),
        ("neuro.technology/1", "neuro.technology/9", ["neuro.technology/9", "neuro.technology/1"]),
        ("source: a book, ", "", ["figures.int8_add.source"]),
    ],
)
def test_errors_name_file_key_and_reason(tmp_path, old, new, parts):
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(InputError) as error:
        load_technology(path)
    for part in [str(path), *parts]:
        assert part in str(error.value)


@pytest.mark.parametrize("content", ["", "- a list", "just words"])
def test_a_file_without_mapping_is_refused(tmp_path, content):
    with pytest.raises(InputError, match="mapping"):
        load_technology(written(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_technology(tmp_path / "none.yaml")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not YAML"):
        load_technology(path)


def test_the_shipped_file_cannot_run_code(tmp_path):
    with pytest.raises(InputError, match="not YAML"):
        load_technology(written(tmp_path, "a: !!python/object/apply:os.getcwd []"))


def test_names_of_files_are_the_names_inside():
    for name in technology_names():
        assert technology(name).name == name
        assert yaml.safe_load(technology(name).model_dump_json())["name"] == name
