"""Losses on time-first logits `[T, B, K]`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hardware_models.errors import InputError


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the logits' mean over T, `[T, B, K]`, against labels `[B]` or probabilities `[B, K]`."""
    return F.cross_entropy(logits.mean(0), labels, label_smoothing=label_smoothing)


def tet(logits: Tensor, labels: Tensor, tet_lambda: float, label_smoothing: float = 0.0) -> Tensor:
    """Temporal efficient training (Deng et al., ICLR 2022, eq. 10-12).

        L = (1 - lambda) mean_t CE(logits_t, labels) + lambda mean_t MSE(logits_t, 1)

    1 is the firing threshold. Each timestep is trained by itself, so accuracy holds at fewer timesteps too. Labels are
    `[B]`, or probabilities `[B, K]`.
    """
    repeated = labels.repeat(logits.shape[0], *[1] * (labels.dim() - 1))
    every_step = F.cross_entropy(logits.flatten(0, 1), repeated, label_smoothing=label_smoothing)
    if tet_lambda == 0:
        return every_step
    return (1 - tet_lambda) * every_step + tet_lambda * F.mse_loss(logits, torch.ones_like(logits))


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the answer from the teacher's: sum_k p_k log(p_k / q_k), mean over samples.

    Of the logits' means over T, `[T, B, K]` against `[1, B, K]` (Hinton et al., arXiv:1503.02531, at temperature 1).
    """
    answer = F.log_softmax(logits.mean(0), -1)
    return F.kl_div(answer, F.log_softmax(teacher.mean(0), -1), reduction="batchmean", log_target=True)


def feature_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared distance of two layers' outputs `[B, ...]`, each divided by its own root mean square.

    Currents of a spiking network and activations of its float parent are of different size; only their pattern is
    compared.
    """
    if found.shape != wanted.shape:
        raise InputError(
            f"a distilled layer gives {list(found.shape)} and the teacher's {list(wanted.shape)}; choose layers of "
            "equal shape, or a teacher of the same widths."
        )
    return F.mse_loss(_scaled(found), _scaled(wanted))


def _scaled(x: Tensor) -> Tensor:
    return x / x.square().mean().sqrt().clamp_min(1e-12)
