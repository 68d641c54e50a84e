"""A layer of the graph as a product of matrices, for what is chosen from the second moments of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from quant.capture.operators import operator_name

_ENOUGH = 128
"""Columns for each input: of more, those of one picture tell little new."""


@dataclass(frozen=True)
class Product:
    """A convolution or linear layer as Y = W X.

    Attributes:
        node: of the layer.
        groups: of a convolution.
    """

    node: fx.Node
    groups: int

    def weights(self, weight: Tensor) -> Tensor:
        """Return W, `[groups, outputs of one, inputs of one]`."""
        return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)

    def inputs(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return X^T, `[groups, columns, inputs of one]`: for a convolution every patch.

        Patches are cut by the convolution itself, with weights that pick one input each: whatever its padding, stride
        and dilation.
        """
        if operator_name(self.node) == "linear":
            return x.reshape(1, -1, x.shape[-1])
        count = weight[0].numel()
        if weight[0, 0].numel() == 1 and self.node.meta["val"].shape[2:] == x.shape[2:]:  # patches are single places
            return x.movedim(1, -1).reshape(-1, self.groups, count).transpose(0, 1)
        picks = torch.eye(count, dtype=x.dtype, device=x.device).reshape(count, *weight.shape[1:])
        arguments: Any = (x, picks.repeat(self.groups, *[1] * (picks.dim() - 1)), None, *self.node.args[3:])
        assert callable(self.node.target)
        patches = self.node.target(*arguments)
        found: Tensor = patches.movedim(1, -1).reshape(-1, self.groups, count).transpose(0, 1)
        return found

    def gram(self, batches: Sequence[Tensor], weight: Tensor) -> Tensor:
        """Return X X^T over the number of columns, `[groups, inputs of one, inputs of one]`.

        Of many columns every n-th counts.
        """
        total, columns = torch.zeros((), dtype=torch.float64, device=weight.device), 0
        for x in batches:
            rows = self.inputs(x, weight)
            rows = rows[:, :: max(1, rows.shape[1] * len(batches) // (_ENOUGH * rows.shape[2])) | 1]
            total = total + (rows.transpose(1, 2) @ rows).double()
            columns += rows.shape[1]
        return total / columns


def as_product(node: fx.Node) -> Product | None:
    """Return how a node multiplies its weights, its second argument; None where it does so in another way."""
    name = operator_name(node)
    arguments: tuple[Any, ...] = node.args
    if name == "linear":
        return Product(node, 1)
    if name in ("conv1d", "conv2d", "conv3d"):
        return Product(node, arguments[6] if len(arguments) > 6 else 1)
    if name == "convolution" and not arguments[6]:
        return Product(node, arguments[8])
    return None
