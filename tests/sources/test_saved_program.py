"""A saved program is read without running anything that the file brings."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim

from hardware_models.errors import InputError
from neuro.sources import load_source
from quant.capture import capture

X = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3)).eval()


@pytest.fixture(scope="module")
def saved(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "small.pt2"
    program = torch.export.export(model, (X,), dynamic_shapes=({0: Dim("batch", min=1, max=64)},))
    torch.export.save(program, path)
    return path


def changed(saved: Path, out: Path, part: str, change: Callable[[bytes], bytes]) -> Path:
    """Write a copy of the archive in which one part is another."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        for name in names:
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith(part) else content)
        if not any(name.endswith(part) for name in names):
            new.writestr(f"{names[0].partition('/')[0]}/{part}", change(b""))
    return out


class Payload:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_saved_program_is_the_network(model: nn.Module, saved: Path) -> None:
    source = load_source(str(saved))
    assert source.name == "small"
    assert source.trained
    assert source.parameters == sum(one.numel() for one in model.parameters())
    assert torch.equal(source.example[0], X)
    captured = capture(source.model, source.example)
    x = torch.randn(5, 1, 5, 5)
    assert torch.allclose(captured.graph(x), model(x), atol=1e-6)


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode())

    return change


RELU = "torch.ops.aten.relu.default"


@pytest.mark.parametrize(
    ("part", "change", "found"),
    [
        (
            "models/model.json",
            replaced("torch.ops.aten.relu.default", "torch.os.system"),
            "the operator torch.os.system",
        ),
        (
            "models/model.json",
            replaced("torch.ops.aten.relu.default", "_operator.methodcaller"),
            "the operator _operator",
        ),
        ("models/model.json", replaced('"expr_str": "', '"expr_str": "exec(chr(49)) + '), r"the size .exec\(chr"),
        ("models/model.json", replaced('"expr_str": "', '"expr_str": "().__class__ + '), r"the size .\(\)\.__class__"),
        (
            "models/model.json",
            replaced('"in_spec": "', '"in_spec": "default_factory_module '),
            "a structure of inputs or outputs that imports code",
        ),
        ("weights/model_weights_config.json", replaced('"use_pickle": false', '"use_pickle": true'), "pickled tensors"),
        ("weights/model_weights_config.json", replaced('"weight_0"', '"custom_obj_0"'), "the object custom_obj_0"),
        ("data/aotinductor/model/x.so", lambda _: b"\x7fELF", "the part data/aotinductor/model/x.so"),
        ("data/weights/model.pt", lambda _: b"", "the part data/weights/model.pt"),
    ],
)
def test_what_could_run_code_is_refused(
    saved: Path, tmp_path: Path, part: str, change: Callable[[bytes], bytes], found: str
) -> None:
    path = changed(saved, tmp_path / "bad.pt2", part, change)
    with pytest.raises(InputError, match=f"bad.pt2 holds {found}.*never loaded because it can run code"):
        load_source(str(path))


def test_pickled_example_inputs_are_not_unpickled(saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def payload(_: bytes) -> bytes:
        file = io.BytesIO()
        torch.save({"x": Payload(mark)}, file)
        return file.getvalue()

    path = changed(saved, tmp_path / "bad.pt2", "data/sample_inputs/model.pt", payload)
    with pytest.raises(InputError, match="example inputs that are more than tensors"):
        load_source(str(path))
    assert not mark.exists()
    torch.load(io.BytesIO(payload(b"")), weights_only=False)
    assert mark.exists(), "the payload is no payload"


def test_two_parts_of_one_name(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt2"
    path.write_bytes(saved.read_bytes())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"other")
    with pytest.raises(InputError, match="two parts of the same name"):
        load_source(str(path))


@pytest.mark.parametrize("content", [b"", b"no archive", pickle.dumps({"a": 1})])
def test_another_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pt2").write_bytes(content)
    with pytest.raises(InputError, match=r"other\.pt2 is no exported program, or a damaged one"):
        load_source(str(tmp_path / "other.pt2"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.pt2: No such file or directory"):
        load_source(str(tmp_path / "none.pt2"))


def test_a_damaged_program(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "half.pt2").write_bytes(saved.read_bytes()[:2000])
    with pytest.raises(InputError, match="no exported program, or a damaged one"):
        load_source(str(tmp_path / "half.pt2"))


def test_a_program_takes_neither_another_size_nor_weights(saved: Path) -> None:
    with pytest.raises(InputError, match="was exported for one size of input"):
        load_source(str(saved), input_size=32)
    with pytest.raises(InputError, match="brings its weights; leave out --weights"):
        load_source(str(saved), weights="w.safetensors")
