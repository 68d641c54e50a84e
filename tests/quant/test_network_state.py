"""The state of a quantized network is taken by networks of the same quantizers alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import quant
from hardware_models.errors import InputError


def network(example: torch.Tensor) -> quant.QuantizedNetwork:
    torch.manual_seed(0)
    return quant.quantize(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)).eval(), "w4a4", example)


def test_other_signs_are_refused() -> None:
    found, other = network(torch.randn(4, 8)), network(torch.rand(4, 8))
    with pytest.raises(InputError, match="quantizers of other kinds"):
        other.load_state_dict(found.state_dict(), strict=False)


def test_other_ranges_are_not() -> None:
    x = torch.randn(4, 8)
    found, other = network(x), network(5 * x)
    other.load_state_dict(found.state_dict())
    assert torch.equal(found(x), other(x))
