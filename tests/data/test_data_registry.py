"""Names, descriptions and the specs of data sets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hardware_models.errors import InputError
from neuro.data import dataset_names, describe, load_dataset


def test_every_name_is_described() -> None:
    assert [info.name for info in describe()] == list(dataset_names())
    for info in describe():
        assert info.what
        assert info.size
        assert info.origin
        assert info.where or info.how_to_get


def test_describing_waits_neither_for_torch_nor_for_scikit_learn() -> None:
    code = "import sys, neuro.data; neuro.data.describe(); print({'torch', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "set()"


def test_description_tells_whether_fashion_mnist_is_here(
    nowhere: Path, fashion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = next(info for info in describe() if info.name == "fashion-mnist")
    assert not absent.found
    assert "dataset-fashion-mnist" in absent.how_to_get
    assert not nowhere.exists(), "describing must not make folders"

    monkeypatch.setenv("NEURO_DATA", str(fashion_folder))
    present = next(info for info in describe() if info.name == "fashion-mnist")
    assert present.found
    assert present.where == str(fashion_folder)


def test_sizes_in_the_description_are_the_real_ones() -> None:
    digits = load_dataset("digits")
    size = next(info.size for info in describe() if info.name == "digits")
    assert digits.train is not None
    assert f"{len(digits.train):,} to train, {len(digits.test):,} held out" in size


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("digit", ["unknown data set 'digit'", "did you mean 'digits'", "fashion-mnist", "folder"]),
        ("", ["unknown data set"]),
        ("./photos", ["folder:PATH", "Known: cifar10, ", "digits"]),
        ("dir:photos", ["folder:PATH"]),
        ("digits:photos", ["takes no path"]),
        ("folder", ["write folder:PATH"]),
        ("folder:", ["write folder:PATH"]),
        ("fashion-mnist:", ["write fashion-mnist:PATH"]),
    ],
)
def test_wrong_specs_are_one_clear_sentence(spec: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset(spec)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_the_data_set_is_named_as_it_was_given(fashion_folder: Path) -> None:
    assert load_dataset("digits").name == "digits"
    spec = f"fashion-mnist:{fashion_folder}"
    assert load_dataset(spec).name == spec


def test_home_directory_is_expanded(fashion_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(fashion_folder.parent))
    assert len(load_dataset("fashion-mnist:~/fashion").test) == 10
