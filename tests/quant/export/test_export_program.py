"""Programs of torch.export, loaded again, against the networks they were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hardware_models.errors import InputError
from quant.export import export_program


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [("cnn", "spike-w4"), pytest.param("cnn", "reactnet", marks=pytest.mark.slow), ("vit", "w4a4"), ("words", "w8a8")],
)
def test_a_program_answers_as_the_network_for_any_batch(kind: str, recipe: str, quantized: Any, tmp_path: Path) -> None:
    network, x = quantized(kind, recipe)
    assert export_program(network, tmp_path / "a.pt2", x[:1]) == 0
    program = torch.export.load(tmp_path / "a.pt2").module()
    for count in (1, 3):
        torch.testing.assert_close(program(x[:count]), network(x[:count]), rtol=0, atol=1e-6)


def test_what_torch_export_does_not_take_is_refused(quantized: Any, tmp_path: Path) -> None:
    network, x = quantized("cnn", "w8a8")
    with pytest.raises(InputError, match=r"torch.export does not take the network .*; export it as safetensors"):
        export_program(network, tmp_path / "a.pt2", x[:, :1])
    assert not (tmp_path / "a.pt2").exists()
