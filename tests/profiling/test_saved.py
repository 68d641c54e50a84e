"""A profiled Workload survives saving, and damaged files are refused in one sentence."""

import numpy as np
import pytest
import torch
from torch import nn

from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.neurons import LIF
from neuro.profiling import profile


@pytest.fixture
def workload():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), LIF(), nn.Linear(5, 2))
    return profile(model, 3 * torch.rand(3, 2, 4), time_first=True, name="small")


def test_round_trip(workload, tmp_path):
    workload.save(tmp_path / "workload.json")
    loaded = Workload.load(tmp_path / "workload.json")
    assert loaded == workload
    assert hash(loaded) == hash(workload)
    assert loaded.arrays.keys() == {"0/input", "1/output", "2/input"}
    loaded.arrays["1/output"][0, 0] += 1
    assert loaded != workload
    assert workload != "small"


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04nothing", b"\x93NUMPY", b"not an archive"])
def test_damaged_arrays(workload, tmp_path, damage):
    workload.save(tmp_path / "workload.json")
    (tmp_path / "workload.npz").write_bytes(damage)
    with pytest.raises(InputError, match=r"workload\.npz"):
        Workload.load(tmp_path / "workload.json")


def test_truncated_arrays(workload, tmp_path):
    workload.save(tmp_path / "workload.json")
    file = tmp_path / "workload.npz"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"workload\.npz"):
        Workload.load(tmp_path / "workload.json")


def test_pickled_arrays_are_not_loaded(workload, tmp_path):
    workload.save(tmp_path / "workload.json")
    np.savez(tmp_path / "workload.npz", **{"1/output": np.array([{}], dtype=object)})
    with pytest.raises(InputError, match=r"workload\.npz"):
        Workload.load(tmp_path / "workload.json")


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Workload.load(tmp_path)
