"""Programs of `torch.export`: the simulated network as one graph of ATen operators, for any runtime that reads them."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from quant.capture.complaints import quiet, said
from quant.export.common import BATCH, answer, checked, relative_error, twice, write


def export_program(network: nn.Module, path: str | Path, example: Tensor | tuple[Tensor, ...]) -> float:
    """Write any quantized network, spiking ones too, as a program; `torch.export.load(path).module()` runs it.

    Args:
        network: what `quant.quantize` made.
        path: the file, `NAME.pt2` by custom; its folder must exist.
        example: inputs, `[B, ...]` each; the program takes batches of any size.

    Returns:
        |y - y'| / |y| for what the network and the file answer to `example`.

    Raises:
        InputError: a network that is not quantized, or that torch.export does not take.
        RunError: the file cannot be written.
    """
    found, inputs = checked(network, example)
    plain = copy.deepcopy(found).eval()
    batch = torch.export.Dim(BATCH)
    shapes = (tuple({0: batch} for _ in inputs),)  # forward takes any number of inputs, as one tuple
    written = io.BytesIO()
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(plain, twice(inputs), dynamic_shapes=shapes, strict=False)
            torch.export.save(program, written)
        except Exception as error:
            raise InputError(
                f"torch.export does not take the network ({said(error)}); export it as safetensors."
            ) from error
        again = torch.export.load(io.BytesIO(written.getvalue())).module()
        error_of_file = relative_error(again(*inputs), answer(found, inputs))
    write(Path(path), written.getvalue())
    return error_of_file
