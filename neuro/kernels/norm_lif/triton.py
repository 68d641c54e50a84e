"""BatchNorm, shortcut and neuron in one pass on a GPU; the meaning is in reference.py.

A program takes a tile of neurons through every timestep; channels-last is the faster layout.

Bytes per neuron and timestep, T large:                         fp32    16 bits
    forward, given statistics                                    8       4
    forward, statistics of the batch (x is read twice)          12       6
    + shortcut, its sum kept                                    +8      +4
    backward, statistics of the batch (x, grad read twice)      20      10

Sums over the batch are taken in single precision within a program and in double between programs, always in the same
order. Importing this needs Triton; `gpu.refuses` says whether to.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from neuro.kernels.gpu import on_device
from neuro.kernels.lif.settings import Settings, laid_out_as
from neuro.kernels.lif.triton import gradient, neuron
from neuro.kernels.norm_lif.cpu import Inputs, _is_channels_last, _laid_out
from neuro.kernels.norm_lif.device import backward_kernel, forward_kernel, statistics_kernel

LONGEST = 64
"""Timesteps whose potentials fit into the registers of a program."""

SPLITS = 256
"""Programs that share the rows of a channel when they are summed over: two for each processor of a large GPU."""


class Tiling(NamedTuple):
    """How a tensor is cut into tiles.

    Attributes:
        rows: of a timestep.
        row_stride: elements from a row to the next.
        channels: C.
        INNER: positions of a channel within a row; 1 for channels-last.
        LAST: channels-last.
        R: rows of a tile.
        K: columns of a tile.
    """

    rows: int
    row_stride: int
    channels: int
    INNER: int
    LAST: bool
    R: int
    K: int

    @property
    def tiles(self) -> int:
        """Tiles along the rows."""
        return triton.cdiv(self.rows, self.R)

    @property
    def parts(self) -> int:
        """Tiles along the columns of a channel (contiguous)."""
        return 1 if self.LAST else triton.cdiv(self.INNER, self.K)

    @property
    def groups(self) -> int:
        """Tiles along the columns."""
        return triton.cdiv(self.channels, self.K) if self.LAST else self.channels * self.parts

    def sums(self, splits: int, device: torch.device) -> Tensor:
        """Room for two sums of every channel by every program."""
        return torch.empty((2, splits * self.parts, self.channels), device=device)


def tiling(x: Tensor, elements: int, timesteps_are_rows: bool = False) -> Tiling:
    """Cut a timestep of `x` `[T, B, C, ...]`, or all of them, into tiles of `elements`."""
    images, channels = x.shape[1] * (x.shape[0] if timesteps_are_rows else 1), x.shape[2]
    positions = math.prod(x.shape[3:])
    if _is_channels_last(x):
        # A row of a power of two that divides the channels wastes no lane.
        divides = channels & -channels
        columns = min(divides if divides >= 16 else triton.next_power_of_2(channels), 128, elements)
        return Tiling(images * positions, channels, channels, 1, True, elements // columns, columns)
    columns = min(triton.next_power_of_2(positions), elements)
    return Tiling(images, channels * positions, channels, positions, False, elements // columns, columns)


def tile_elements(steps: int) -> int:
    """Neurons of a program of the backward kernel: fewer when each keeps more potentials in registers."""
    return 1024 if steps <= 8 else 512 if steps <= 16 else 256 if steps <= 32 else 128


def forward(
    given: Inputs, mean: Tensor | None, rstd: Tensor | None, settings: Settings, eps: float, keep_sum: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run BatchNorm, shortcut and neuron over all timesteps; arguments and results as in `cpu.forward`."""
    given = _laid_out(given)
    x = given.x
    s, h = torch.empty_like(x), torch.empty_like(x) if keep_sum else x.new_empty(0)
    v_last = torch.empty_like(x[0], dtype=torch.float32)
    of_batch = given.weight is not None and mean is None
    found = [x.new_full((x.shape[2] if of_batch else 0,), math.nan, dtype=torch.float32) for _ in range(3)]
    if x.numel() == 0:
        return s, h, v_last, found[0], found[1], found[2]
    if of_batch:
        found = list(statistics(x, eps))
        mean, rstd = found[0], found[2]
    cut = tiling(x, 1024)
    with on_device(x):
        forward_kernel[(cut.tiles * cut.groups,)](
            x,
            *(x if one is None else one for one in (given.residual, given.v, given.weight, given.bias, mean, rstd)),
            s,
            h,
            v_last,
            cut.tiles,
            **cut._asdict(),
            **neuron(settings),
            T=x.shape[0],
            NORM=given.weight is not None,
            RESIDUAL=given.residual is not None,
            KEEP_SUM=keep_sum,
            FROM_REST=given.v is None,
            CHUNK=4,
            num_warps=4,
            enable_fp_fusion=False,
        )
    return s, h, v_last, found[0], found[1], found[2]


def statistics(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and 1 / sqrt(variance + eps) of the channels of `x` `[T, B, C, ...]`, fp32 `[C]`."""
    cut = tiling(x, 1024, timesteps_are_rows=True)
    splits = min(cut.tiles, SPLITS)
    # Deviations from a value of the channel lose nothing where the mean is far from zero.
    origin = x[0, 0].flatten(1)[:, 0].float() if x.dim() > 3 else x[0, 0].float()
    origin = torch.where(origin.isfinite(), origin, 0.0)
    parts = cut.sums(splits, x.device)
    with on_device(x):
        statistics_kernel[(splits * cut.groups,)](
            x, origin, parts[0], parts[1], splits, **cut._asdict(), num_warps=4, enable_fp_fusion=False
        )
    total, squares = parts.sum(1, dtype=torch.float64)
    n = x.numel() // x.shape[2]
    deviation = total / n
    var = ((squares - total * deviation) / n).clamp_min(0).float()
    return (origin.double() + deviation).float(), var, (var.double() + eps).rsqrt().float()


def backward(
    grad_s: Tensor | None,
    grad_h: Tensor | None,
    given: Inputs,
    h: Tensor | None,
    mean: Tensor | None,
    rstd: Tensor | None,
    settings: Settings,
    batch_statistics: bool,
    wants_sum: bool,
    wants_v: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, of the sum, of v, of weight and of bias; arguments as in `cpu.backward`.

    With statistics of the batch there are two passes, the second of which runs the neuron again rather than keep its
    gradient, unless the gradient of the sum is wanted anyway.
    """
    given = _laid_out(given)
    x = given.x
    grad_x = torch.empty_like(x)
    grad_sum = torch.empty_like(x) if wants_sum else x.new_empty(0)
    grad_v = torch.empty_like(x[0], dtype=torch.float32) if wants_v else x.new_empty(0, dtype=torch.float32)
    size = 0 if given.weight is None else x.shape[2]
    found = x.new_zeros((2, size), dtype=torch.float32)
    if x.numel() == 0:
        return grad_x, grad_sum, grad_v, found[0], found[1]
    grad_s, grad_h, h = (None if one is None else laid_out_as(x, one, x.dtype) for one in (grad_s, grad_h, h))
    results = (grad_x, grad_sum, grad_v)
    inputs = (grad_s, grad_h, given, h, mean, rstd)
    if not batch_statistics:
        sums = _pass(inputs, None, results, settings, sums=size > 0, write_x=True, wants=(wants_sum, wants_v))
        return grad_x, grad_sum, grad_v, *(found if sums is None else sums.flip(0).float())
    sums = _pass(inputs, None, results, settings, sums=True, write_x=False, wants=(wants_sum, wants_v))
    assert sums is not None
    means = (sums / (x.numel() // size)).float()
    _pass(inputs, means, results, settings, sums=False, write_x=True, wants=(wants_sum, False))
    return grad_x, grad_sum, grad_v, *sums.flip(0).float()


def _pass(
    inputs: tuple[Tensor | None, Tensor | None, Inputs, Tensor | None, Tensor | None, Tensor | None],
    means: Tensor | None,
    results: tuple[Tensor, Tensor, Tensor],
    settings: Settings,
    sums: bool,
    write_x: bool,
    wants: tuple[bool, bool],
) -> Tensor | None:
    """One run of the backward kernel; returns the sums of g and of g x_hat, fp64 `[2, C]`, where they are taken."""
    grad_s, grad_h, given, h, mean, rstd = inputs
    x = given.x
    wants_sum, wants_v = wants
    cut = tiling(x, tile_elements(x.shape[0]))
    splits = min(cut.tiles, SPLITS) if sums else cut.tiles
    parts = cut.sums(splits if sums else 0, x.device)
    tensors = (grad_s, grad_h, x, given.residual, given.v, h, given.weight, given.bias, mean, rstd)
    of_batch = (None, None) if means is None else (means[0], means[1])
    with on_device(x):
        backward_kernel[(splits * cut.groups,)](
            *(x if one is None else one for one in (*tensors, *of_batch)),
            *results,
            parts[0],
            parts[1],
            splits,
            **cut._asdict(),
            **neuron(settings),
            **gradient(settings),
            T=x.shape[0],
            NORM=given.weight is not None,
            RESIDUAL=given.residual is not None,
            H_KEPT=h is not None,
            GRAD_S=grad_s is not None,
            GRAD_H=grad_h is not None,
            GRAD_KEPT=means is not None and wants_sum,
            SUMS=sums,
            OF_BATCH=means is not None,
            WRITE_X=write_x,
            WRITE_SUM=wants_sum and means is None,
            WRITE_V=wants_v,
            FROM_REST=given.v is None,
            num_warps=4,
            enable_fp_fusion=False,
        )
    return parts.sum(1, dtype=torch.float64) if sums else None
