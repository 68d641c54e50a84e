"""Where and how a table is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from hardware_models.errors import InputError


@dataclass(frozen=True)
class Setting:
    """Where and how a table is measured.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`.
        rounds: timed rounds, of which the median counts.
        say: takes a line for people, before what takes long or much memory.
    """

    device: str
    rounds: int
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        try:
            known = torch.device(self.device)
        except RuntimeError as error:
            raise InputError(f"--device was {self.device!r}; give cpu, cuda or cuda:N.") from error
        if known.type not in ("cpu", "cuda"):
            raise InputError(f"--device was {self.device!r}; give cpu, cuda or cuda:N.")
        if known.type == "cuda" and (known.index or 0) >= torch.cuda.device_count():
            raise InputError(f"--device was {self.device!r}; this machine has {torch.cuda.device_count()} of them.")

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("cuda")

    @property
    def dtype(self) -> torch.dtype:
        """What the tables are in: fp32 on a CPU, bf16 on a GPU."""
        return torch.bfloat16 if self.is_gpu else torch.float32

    def goal(self, cpu: float | None = None, gpu: float | None = None) -> float | None:
        """Return the goal for the device; None where nothing was asked."""
        return gpu if self.is_gpu else cpu
