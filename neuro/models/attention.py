"""Spike-driven self-attention (SDSA): products of spike tensors, no softmax.

q, k, v are spikes `[T, B, heads, N, d]` (N tokens, d channels of a head); the result has the same shape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

NeuronFactory = Callable[[float], nn.Module]
"""Makes a neuron with the given firing threshold."""

SCALE = 0.125
THRESHOLD = 0.5


class SDSA1(nn.Module):
    """SDSA-1: `q * SN(sum_N(k * v))`, masks and additions only, linear in N and d.

    Spike-driven Transformer V1 (Yao et al., NeurIPS 2023); the sum runs over the tokens and its neuron has
    threshold 0.5, as in the published V1 code.
    """

    def __init__(self, make_neuron: NeuronFactory) -> None:
        super().__init__()
        self.neuron = make_neuron(THRESHOLD)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q * self.neuron((k * v).sum(dim=-2, keepdim=True))


class SDSA3(nn.Module):
    """SDSA-3: `SN(scale * q (k^T v))`, linear in N; the one in the published Meta-SpikeFormer.

    `scale` = 1/8 with threshold 1/2; for a neuron that is linear up to its threshold this equals threshold 4
    on the integer product, which `fold_scale` makes of it.
    """

    scale: Tensor | float

    def __init__(self, make_neuron: NeuronFactory) -> None:
        super().__init__()
        self.scale = SCALE
        self.neuron = make_neuron(THRESHOLD)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        product = q @ (k.transpose(-2, -1) @ v)
        if not isinstance(self.scale, Tensor) and self.scale == 1:
            return self.neuron(product)
        return self.neuron(product * self.scale)

    def fold_scale(self) -> None:
        """Move the scale into the neuron's threshold, so that no multiplication is left.

        Exact for neurons whose potential is linear in the input and whose reset potential is 0 (or that
        reset by subtraction), which is asked of the neuron by its `v_threshold` and `v_reset`; others keep
        the scale.
        """
        threshold = getattr(self.neuron, "v_threshold", None)
        scale = self.scale.item() if isinstance(self.scale, Tensor) else self.scale
        if threshold is None or getattr(self.neuron, "v_reset", None) or scale <= 0:
            return
        self.neuron.v_threshold = threshold / scale
        if isinstance(self.scale, nn.Parameter):
            del self.scale
        self.scale = 1.0


class SDSA4(SDSA3):
    """SDSA-4: SDSA-3 whose threshold is learned.

    The threshold theta is learned as the scale s = THRESHOLD / theta in front of a fixed threshold, which is
    the same neuron and gives every neuron type a gradient.
    """

    def __init__(self, make_neuron: NeuronFactory) -> None:
        super().__init__(make_neuron)
        del self.scale
        self.scale = nn.Parameter(torch.tensor(SCALE))


ATTENTIONS: dict[str, type[nn.Module]] = {"sdsa1": SDSA1, "sdsa3": SDSA3, "sdsa4": SDSA4}
