"""Weights from files that fit, and from files that do not."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.weights import load_weights, save_weights


def network(seed: int = 0, classes: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))


@pytest.fixture
def state() -> dict[str, Tensor]:
    return network(seed=1).state_dict()


def assert_loads(path: Path, state: dict[str, Tensor]) -> None:
    model = network(seed=2)
    load_weights(path, model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name].to(tensor.dtype)), name
        assert tensor.dtype == network().state_dict()[name].dtype


def test_what_is_saved_loads(tmp_path: Path) -> None:
    model = network(seed=1)
    save_weights(tmp_path / "w.safetensors", model, {"schema": "x"})
    assert_loads(tmp_path / "w.safetensors", model.state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3, "best": 0.5},
        lambda state: {"state_dict": state},
        lambda state: {"module": state},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: t.half() if t.is_floating_point() else t for name, t in state.items()},
    ],
    ids=["plain", "model", "state_dict", "module", "data-parallel", "float16"],
)
@pytest.mark.parametrize("old_format", [False, True])
def test_torch_checkpoints(tmp_path: Path, state: dict[str, Tensor], wrap: Any, old_format: bool) -> None:
    wrapped = wrap(state)
    torch.save(wrapped, tmp_path / "w.pth", _use_new_zipfile_serialization=not old_format)
    inner = next((v for v in wrapped.values() if isinstance(v, dict)), wrapped)
    assert_loads(tmp_path / "w.pth", {name.removeprefix("module."): t for name, t in inner.items()})


def test_safetensors_under_any_name(tmp_path: Path, state: dict[str, Tensor]) -> None:
    for name in ("w.safetensors", "weights.bin"):
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / name)
        assert_loads(tmp_path / name, state)


class Malicious:
    """Unpickling this would make a folder."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.trap),)


@pytest.mark.parametrize("kind", ["zip", "old", "pickle", "named .safetensors"])
def test_pickled_code_is_never_run(tmp_path: Path, kind: str) -> None:
    trap, path = tmp_path / "trap", tmp_path / ("w.safetensors" if "safe" in kind else "w.pt")
    if kind in ("zip", "old"):
        torch.save({"model": Malicious(trap)}, path, _use_new_zipfile_serialization=kind == "zip")
    else:
        path.write_bytes(pickle.dumps(Malicious(trap)))
    with pytest.raises(InputError):
        load_weights(path, network())
    assert not trap.exists()


def test_objects_beside_tensors_are_refused_and_named_as_the_reason(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.pt"
    for old_format in (False, True):
        content = {"model": state, "args": argparse.Namespace(lr=1)}
        torch.save(content, path, _use_new_zipfile_serialization=not old_format)
        with pytest.raises(InputError, match="holds pickled Python objects beside tensors, which are never loaded"):
            load_weights(path, network())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\xd8\xff\xe0" + b"jpeg" * 50, pickle.dumps(3), b". ./ham.sh\nt", b"PK\x03\x04junk"]
)
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.pt (is no torch checkpoint, or a damaged|holds no state dict)"):
        load_weights(path, network())


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": {}}, {1: torch.ones(2)}, {"a": 3}, {"model": {"b": "c"}}])
def test_checkpoints_without_a_state_dict(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"holds no state dict; save model\.state_dict\(\)"):
        load_weights(tmp_path / "w.pt", network())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_truncated_files(tmp_path: Path, state: dict[str, Tensor], name: str, share: float) -> None:
    path = tmp_path / name
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="damaged"):
        load_weights(path, network())


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.pt"):
        with pytest.raises(InputError, match=r"cannot read weights .*; give a safetensors file or torch checkpoint"):
            load_weights(path, network())


def assert_refused(path: Path, state: dict[str, Tensor], message: str) -> None:
    """`state` is refused with `message`, and nothing of it has arrived."""
    save_file(state, path)
    model = network()
    with pytest.raises(InputError, match=message):
        load_weights(path, model)
    assert all(torch.equal(t, network().state_dict()[name]) for name, t in model.state_dict().items())


def test_what_does_not_fit_is_named_with_an_example(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.safetensors"
    other = network(classes=5).state_dict()
    assert_refused(
        path, other, r"of 9 tensors 2 of other shapes \(3\.weight: \[5, 4\], expected \[3, 4\]\); check --model"
    )
    assert_refused(path, {**state, "extra": torch.ones(1)}, r"1 unknown \(extra\)")
    assert_refused(path, {k: v for k, v in state.items() if k != "0.bias"}, r"1 missing \(0\.bias\)")
    assert_refused(path, {"a": torch.ones(3)}, r"9 missing \(0\.weight\), 1 unknown \(a\)")
    assert_refused(path, {}, r"9 missing \(0\.weight\)")


def test_numbers_that_make_no_network_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.safetensors"
    assert_refused(path, {**state, "3.bias": torch.tensor([0.0, torch.nan, 0.0])}, r"NaN or infinite values in 3\.bias")
    assert_refused(
        path,
        {**state, "0.weight": state["0.weight"].to(torch.int8)},
        r"0\.weight as torch\.int8, expected torch\.float32",
    )
