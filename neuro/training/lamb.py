"""LAMB, for large batches (You et al., "Large Batch Optimization for Deep Learning", arXiv:1904.00962, algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lamb(Optimizer):
    """Adam whose step has, tensor by tensor, the size of the weights.

        m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
        u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + decay w
        w = w - rate (|w| / |u|) u

    The ratio of norms is 1 where either is 0.

    Args:
        params: parameters, or groups of them with `lr` and `weight_decay` of their own.
        lr: rate.
        betas: b1 and b2.
        eps: eps.
        weight_decay: decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state |= {"step": torch.tensor(0.0), "m": torch.zeros_like(weight), "v": torch.zeros_like(weight)}
        state["step"] += 1
        first, second = group["betas"]
        m, v, steps = state["m"], state["v"], float(state["step"])
        m.lerp_(gradient, 1 - first)
        v.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (v / (1 - second**steps)).sqrt_().add_(group["eps"])
        update = (m / (1 - first**steps)).div_(size).add_(weight, alpha=group["weight_decay"])
        of_weight, of_update = _norm(weight), _norm(update)
        ratio = of_weight / of_update if of_weight > 0 and of_update > 0 else 1.0
        weight.add_(update, alpha=-group["lr"] * ratio)


def _norm(x: Tensor) -> float:
    norm = x.norm()
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
