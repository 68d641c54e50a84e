"""What holds for all tests."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    # Before anything imports Triton (peers do): its kernels are then interpreted on the CPU, in tests/kernels.
    os.environ.setdefault("TRITON_INTERPRET", "1")
