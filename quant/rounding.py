"""Which of its neighbours each weight becomes, so that the output of its layer keeps nearest to the float one.

With the inputs x of a layer as columns of X, and Q the weights that are kept, what the layer loses is

    |Q X - W X|^2 = tr (Q - W) G (Q - W)^T        with the Gram matrix G = X X^T

Rounding each weight to the nearest level is best only where G is diagonal. All functions take weights as
`[groups, outputs, inputs]`, each weight's own scale in the same shape, and G as `[groups, inputs, inputs]`; they return
codes q, whole numbers within `low` and `high`, of which Q = q s.

GPTQ is some forty lines here. Brevitas has it too, tied to its own layers, whose weight quantizer it asks for a column
at a time; in a graph whose operators read quantizers, each layer would have to be rebuilt as one of those.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Rounding = Literal["nearest", "gptq", "adaround"]

_BLOCK = 128
"""Columns whose effect on the columns behind the block is summed up before it is applied."""

_MOST_FLIPS = 4
"""Times the number of inputs: flips of an output at most; far fewer are needed."""

_LEAST_GAIN = 1e-12
"""Times the mean of the diagonal of G: below it is rounding."""


def nearest(weight: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """q = clamp(round(W / s), low, high)."""
    return torch.clamp(torch.round(weight / scale), low, high)


def loss(codes: Tensor, weight: Tensor, scale: Tensor, gram: Tensor) -> float:
    """Return tr (q s - W) G (q s - W)^T."""
    error = (codes * scale - weight).to(gram.dtype)
    return float(((error @ gram) * error).sum())


def gptq(weight: Tensor, scale: Tensor, low: int, high: int, gram: Tensor, damping: float = 0.01) -> Tensor:
    """Round one input after another, and let the inputs that are left make up for the error.

    In the order of falling G_jj, with the upper Cholesky factor U of G^-1: the error e = (w_j - q_j s) / U_jj of input
    j changes the weights of the inputs k > j by -e U_jk (Frantar et al., GPTQ, arXiv:2210.17323, algorithm 1).

    Args:
        damping: share of the mean of the diagonal that is added to it; where inputs are so dependent that G has no
            inverse nevertheless, more is added.
    """
    order = gram.diagonal(dim1=1, dim2=2).argsort(1, descending=True)
    rows = order.unsqueeze(1)
    upper = _inverse_factor(gram.take_along_dim(order.unsqueeze(2), 1).take_along_dim(rows, 2).double(), damping)
    left = weight.take_along_dim(rows, 2).double()
    steps = scale.take_along_dim(rows, 2).double()
    codes = torch.empty_like(left)
    for first in range(0, left.shape[2], _BLOCK):
        end = min(first + _BLOCK, left.shape[2])
        errors = torch.empty_like(left[:, :, first:end])
        for j in range(first, end):
            codes[:, :, j] = nearest(left[:, :, j], steps[:, :, j], low, high)
            error = (left[:, :, j] - codes[:, :, j] * steps[:, :, j]) / upper[:, j, j].unsqueeze(1)
            left[:, :, j:end] -= error.unsqueeze(2) * upper[:, j : j + 1, j:end]
            errors[:, :, j - first] = error
        left[:, :, end:] -= errors @ upper[:, first:end, end:]
    return torch.empty_like(codes).scatter_(2, rows.expand_as(codes), codes).to(weight.dtype)


def adaround(weight: Tensor, scale: Tensor, low: int, high: int, gram: Tensor) -> Tensor:
    """Choose between the two neighbours of every weight: q = floor(W / s) or one more.

    The binary quadratic problem of Nagel et al. (AdaRound, arXiv:2004.10568, eq. 13), not by their relaxation but by
    steepest descent: from the nearest, again and again, in each output the one weight goes to its other neighbour that
    lowers the loss most, which for a step d from residuals R = (Q - W) G it changes by 2 d R_j + d^2 G_jj, until none
    does. The loss never rises; no learning rate or temperature has to be chosen.
    """
    gram, steps = gram.double(), scale.double()
    below = torch.clamp(torch.floor(weight / scale), low, high).double()
    above = torch.clamp(below + 1, low, high)
    codes = nearest(weight, scale, low, high).double().clamp(below, above)
    residual = (codes * steps - weight.double()) @ gram
    diagonal = gram.diagonal(dim1=1, dim2=2).unsqueeze(1)
    group = torch.arange(len(gram), device=gram.device).unsqueeze(1)
    for _ in range(_MOST_FLIPS * codes.shape[2]):
        change = (below + above - 2 * codes) * steps
        gain, place = (2 * change * residual + change.square() * diagonal).min(2)
        flips = (gain < -_LEAST_GAIN * diagonal.mean(2) * steps.square().amax(2)).unsqueeze(2)
        if not bool(flips.any()):
            break
        place = place.unsqueeze(2)
        codes = codes.scatter(
            2, place, torch.where(flips, (below + above - codes).gather(2, place), codes.gather(2, place))
        )
        residual += torch.where(flips, change.gather(2, place), 0.0) * gram[group, place.squeeze(2)]
    return codes.to(weight.dtype)


def _inverse_factor(gram: Tensor, damping: float) -> Tensor:
    """Return U with U^T U = G^-1, upper, `[groups, inputs, inputs]`, for damped G."""
    diagonal = gram.diagonal(dim1=1, dim2=2)
    mean = diagonal.mean(1, keepdim=True)
    mean = torch.where(mean > 0, mean, torch.ones_like(mean))
    while True:
        damped = gram + torch.diag_embed(damping * mean.expand_as(diagonal))
        factor, failed = torch.linalg.cholesky_ex(damped)
        if not bool(failed.any()):
            upper: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)
            return upper
        damping *= 10
