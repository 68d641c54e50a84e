"""torchvision and torchaudio built for another torch: stand-ins that fail as those do, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

NEEDS_OPERATORS = """
import torch
from torchvision import part
part.count.append(1)

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets

@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold):
    return dets
"""


def run(code: str, path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def package(path: Path, name: str, code: str) -> None:
    (path / name).mkdir()
    (path / name / "__init__.py").write_text(code)
    (path / name / "part.py").write_text("count = []\n")


def test_the_operators_are_declared_and_stay(tmp_path: Path) -> None:
    package(tmp_path, "torchvision", NEEDS_OPERATORS)
    code = """
import gc, torch
from neuro.sources.companions import import_torchvision
import_torchvision(); import_torchvision(); gc.collect()
import torchvision
print(torchvision.part.count, torch.ops.torchvision.nms.default._schema)
"""
    schema = "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    assert run(code, tmp_path) == f"[1] {schema}"


def test_one_that_loads_is_left_alone(tmp_path: Path) -> None:
    package(tmp_path, "torchvision", "from torchvision import part\n")
    code = """
import torch
from neuro.sources.companions import import_torchvision
import_torchvision()
print(hasattr(torch.ops.torchvision, "nms"))
"""
    assert run(code, tmp_path) == "False"


def test_another_fault_is_not_hidden(tmp_path: Path) -> None:
    package(tmp_path, "torchvision", "raise RuntimeError('something else')")
    code = """
from neuro.sources.companions import import_torchvision
try:
    import_torchvision()
except RuntimeError as error:
    print(error)
"""
    assert run(code, tmp_path) == "something else"


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
def test_transformers_does_without_a_torchaudio_that_cannot_load(tmp_path: Path) -> None:
    package(tmp_path, "torchaudio", "raise OSError('libc10_cuda.so: cannot open shared object file')")
    code = """
import sys
from neuro.sources.companions import import_transformers
found = import_transformers()
from transformers.utils import is_torchaudio_available
print(is_torchaudio_available(), "torchaudio" in sys.modules, found.__name__)
"""
    assert run(code, tmp_path) == "False False transformers"
