"""Run Triton kernels on whatever machine the tests run on: on its GPU, else by Triton's interpreter."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    if "triton" in sys.modules and not os.environ.get("TRITON_INTERPRET"):
        pytest.skip("Triton was imported without its interpreter", allow_module_level=True)
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported: it decorates functions of its own

pytest.importorskip("triton", reason="the Triton kernels need triton")


def run(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call `function` with the tensors on the device, and bring its tensors back."""
    return _moved(function(*_moved(arguments, DEVICE), **_moved(settings, DEVICE)), "cpu")


def _moved(given: Any, device: str) -> Any:
    if isinstance(given, Tensor):
        return given.to(device)
    if isinstance(given, dict):
        return {name: _moved(value, device) for name, value in given.items()}
    if isinstance(given, tuple) and hasattr(given, "_fields"):
        return type(given)(*(_moved(value, device) for value in given))
    if isinstance(given, tuple | list):
        return tuple(_moved(value, device) for value in given)
    return given


def relative(got: Tensor, expected: Tensor | None) -> float:
    """The largest error, relative to the largest value."""
    assert expected is not None
    assert got.shape == expected.shape
    return float((got - expected).abs().max() / expected.abs().max())
