"""From what a user gives to a complete specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hardware_models.errors import InputError
from neuro.conversion.spec import (
    RunSpec,
    merge_settings,
    parse_assignment,
    place_keywords,
    read_settings,
    resolve_spec,
    validate_spec,
)


def test_nothing_given_is_the_default_run_with_its_names_filled_in() -> None:
    spec = resolve_spec({})
    assert (spec.model.name, spec.model.variant, spec.model.attention) == ("spikeformer_v2", "tiny", "sdsa3")
    assert (spec.data.name, spec.model.timesteps, spec.seed, spec.convention) == ("digits", 4, 0, "horowitz45")


def test_yaml_and_back_is_the_same() -> None:
    spec = resolve_spec({"model": {"timesteps": 3}, "training": {"clip_norm": None}})
    assert validate_spec(yaml.safe_load(spec.to_yaml())) == spec


def test_the_data_set_brings_its_way_to_train_and_the_user_overrides_it() -> None:
    assert resolve_spec({"data": {"name": "fashion-mnist:/some/where"}}).training.batch_size == 128
    given = {"data": {"name": "fashion-mnist"}, "training": {"batch_size": 7}}
    spec = resolve_spec(given)
    assert (spec.training.batch_size, spec.training.epochs) == (7, 3)


def test_weights_that_are_given_are_not_trained_unless_asked() -> None:
    assert resolve_spec({"model": {"weights": "w.pt"}}).training.epochs == 0
    assert resolve_spec({"model": {"weights": "w.pt"}, "training": {"epochs": 2}}).training.epochs == 2
    assert resolve_spec({"model": {"weights": "w.pt"}, "training": {"batch_size": 2}}).training.epochs == 0


def test_a_shipped_sharpness_is_for_the_surrogate_it_was_chosen_for() -> None:
    usual = resolve_spec({}).model.surrogate_alpha
    assert usual is not None
    assert resolve_spec({"model": {"surrogate": "sigmoid"}}).model.surrogate_alpha == usual
    assert resolve_spec({"model": {"surrogate": "atan"}}).model.surrogate_alpha is None
    assert resolve_spec({"model": {"surrogate": "atan", "surrogate_alpha": 3}}).model.surrogate_alpha == 3


def test_empty_sections_of_a_file_are_as_if_they_were_not_there() -> None:
    assert resolve_spec({"model": None, "data": None, "training": None, "seed": None}) == resolve_spec({})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"modell": {}}, r"unknown key 'modell'; did you mean"),
        ({"model": {"timestep": 3}}, r"unknown key 'model\.timestep'; did you mean 'model\.timesteps'"),
        ({"model": 5}, r"model was 5; give its keys, as in model: \{variant: tiny\}"),
        ({"data": "digits"}, r"data was 'digits'; give its keys, as in data: \{name: digits\}"),
        ({"training": [1]}, r"training was \[1\]; give its keys"),
        ({"model": {"overrides": 5}}, r"model\.overrides was 5; give keys with their values"),
        ({"model": {"timesteps": 0}}, "timesteps was 0; give a whole number of at least 1"),
        ({"model": {"timesteps": None}}, "timesteps was None; give a whole number of at least 1"),
        ({"model": {"neuron": "lf"}}, "unknown neuron 'lf'; did you mean 'lif'"),
        ({"model": {"name": "spikeformer"}}, "unknown model 'spikeformer'; did you mean 'spikeformer_v2'"),
        ({"model": {"variant": "tny"}}, "unknown variant of spikeformer_v2 'tny'; did you mean 'tiny'"),
        ({"training": {"learning_rate": float("inf")}}, r"training\.learning_rate was inf; input should be a finite"),
        ({"training": {"learning_rate": float("nan")}}, r"training\.learning_rate was nan"),
        ({"training": {"epochs": -1}}, r"training\.epochs was -1; input should be greater than or equal to 0"),
        ({"training": {"loss": "tett"}}, r"training\.loss was 'tett'; input should be 'cross_entropy' or 'tet'"),
        ({"seed": 2**32}, "seed was 4294967296; input should be less than 4294967296"),
        ({"schema": "neuro.spec/9"}, r"schema 'neuro\.spec/9' is not 'neuro\.spec/1'"),
    ],
)
def test_faults_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_spec(given)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=3", {"seed": 3}),
        ("training.learning_rate=0.5", {"training": {"learning_rate": 0.5}}),
        ("training.clip_norm=null", {"training": {"clip_norm": None}}),
        ("model.overrides.widths=[8, 8, 8, 8]", {"model": {"overrides": {"widths": [8, 8, 8, 8]}}}),
        ("model.neuron_parameters.tau=1.5", {"model": {"neuron_parameters": {"tau": 1.5}}}),
        ("model.neuron_parameters={v_reset: null}", {"model": {"neuron_parameters": {"v_reset": None}}}),
        ("data.name=folder:a=b", {"data": {"name": "folder:a=b"}}),
        ("model.weights=", {"model": {"weights": None}}),
    ],
)
def test_assignments(text: str, expected: dict[str, Any]) -> None:
    assert parse_assignment(text) == expected


def test_numbers_in_the_short_exponent_form_are_numbers() -> None:
    assert resolve_spec(parse_assignment("training.learning_rate=1e-3")).training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", "--set was given 'epochs'; write --set key=value"),
        ("epochs=3", r"unknown key 'epochs'; did you mean 'training\.epochs'"),
        ("training=3", "unknown key 'training'"),
        ("=3", "unknown key ''"),
        ("training.epochs=[", r"--set training\.epochs was given '\[', which is not a YAML value"),
    ],
)
def test_assignments_that_are_none(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_assignment(text)


def test_later_settings_lie_on_top_section_by_section() -> None:
    base = {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    assert merge_settings(base, {"a": {"y": {"w": 4}}, "b": None}) == {"a": {"x": 1, "y": {"z": 2, "w": 4}}, "b": None}
    assert base == {"a": {"x": 1, "y": {"z": 2}}, "b": 3}


def test_keywords_find_their_places() -> None:
    given = place_keywords({"model": "m", "data": "d", "epochs": 0, "seed": None, "timesteps": 2})
    assert given == {"model": {"name": "m", "timesteps": 2}, "data": {"name": "d"}, "training": {"epochs": 0}}
    with pytest.raises(InputError, match="unknown keyword 'timestep'; did you mean 'timesteps'"):
        place_keywords({"timestep": 3})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model: {name: x\n", "is not valid YAML"),
        (b"", "holds no settings; write keys"),
        (b"- a\n", "holds no settings; write keys"),
        (b"a: !!python/object/apply:os.system [false]\n", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
    ],
)
def test_files_that_hold_no_settings(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_settings(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.yaml"):
        with pytest.raises(InputError, match=r"cannot read .*; give an existing YAML file"):
            read_settings(path)


def test_a_specification_is_plain_data() -> None:
    assert RunSpec.model_validate(RunSpec().model_dump(by_alias=True)) == RunSpec()
