"""What the Triton kernels of all operators share; importing this does not import Triton."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Collection
from typing import Final

import torch
from torch import Tensor

from neuro.kernels.dispatch import Request

FLOATS: Final = (torch.float32, torch.float16, torch.bfloat16)


def refuses(request: Request, dtypes: Collection[torch.dtype] = FLOATS) -> str:
    """Return why a Triton kernel cannot serve `request`; empty where it can.

    Args:
        request: what is asked.
        dtypes: dtypes of the main input that the kernel takes.
    """
    if request.device != "cuda":
        return f"the tensor is on {request.device}, not on a GPU"
    if not _installed():
        return "triton is not installed"
    if not torch.cuda.is_available():
        return "no CUDA device"
    if request.dtype not in dtypes:
        return f"dtype {str(request.dtype).removeprefix('torch.')}"
    return ""


def interpreted() -> bool:
    """Whether Triton runs kernels on the CPU, for tests: TRITON_INTERPRET was set before the first of them."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def on_device(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Make the device of `x` the one that kernels are launched on."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None
