"""The form of a model that runs fastest: BatchNorms in the convolutions, channels last, weights laid out once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from neuro.kernels.watching import is_watched
from neuro.models.reparameterize import NormalizedConv

Model = TypeVar("Model", bound=nn.Module)

_HAS_ONEDNN: Final = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def for_inference(model: Model) -> Model:
    """Return a copy of `model` that computes the same, faster, and is not meant to be trained.

    BatchNorms fold into the convolutions before them (RepConv's into its three, its border into a bias), which keeps
    the number of operations; convolutions, neurons and attention then work on channels-last memory, and on a CPU the
    weights are brought into oneDNN's layout once, not at every call. Weights fold in double precision and are rounded
    once, so sums differ by rounding: every convolution equals its pieces to 1e-5 of its largest value in fp32, to 1e-13
    in double. A potential that close to the threshold may fire in one form and not in the other.

    `merge_model` instead makes one convolution of each, which sees nothing but spikes and has more operations: what an
    accelerator for spikes runs.

    Args:
        model: any module; what folds is `neuro.models.reparameterize.NormalizedConv`. It is left alone.

    Raises:
        TypeError: a BatchNorm has no running statistics.
    """
    form = copy.deepcopy(model).eval()
    _replace(form, lambda layer: layer.folded() if isinstance(layer, NormalizedConv) else layer)
    _replace(form, lambda layer: LaidOutConv2d(layer) if type(layer) is nn.Conv2d else layer)
    form.requires_grad_(False)
    return form.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _replace(model: nn.Module, form_of: Callable[[nn.Module], nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            setattr(parent, name, form_of(child))


class LaidOutConv2d(nn.Conv2d):
    """A convolution that keeps its weight in the layout that oneDNN wants, beside the one that users see.

    It is `nn.Conv2d` where oneDNN has no part: on a GPU, in another dtype than fp32, for a gradient, with other than
    zero padding, in a compiled graph; and while something watches operators or has hooked it.

    Args:
        conv: the convolution whose weight and bias it takes over.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        # What an nn.Conv2d holds, tensors included: nothing is allocated or initialised again.
        nn.Module.__init__(self)
        self.__dict__.update(conv.__dict__)
        self._laid_out: tuple[tuple[Any, ...], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self._takes(x):
            return super().forward(x)
        x = x.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise(
            x, self._weight_for(x), self.bias, self.padding, self.stride, self.dilation, self.groups, "none", [], ""
        )

    def _takes(self, x: Tensor) -> bool:
        if not _HAS_ONEDNN or not torch.backends.mkldnn.enabled or torch.compiler.is_compiling():
            return False
        if x.dim() != 4 or not x.numel() or self.padding_mode != "zeros" or isinstance(self.padding, str):
            return False
        if any(y.device.type != "cpu" or y.dtype != torch.float32 for y in (x, self.weight)):
            return False
        wants_gradient = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        return not (wants_gradient or torch.is_autocast_enabled("cpu") or is_watched(self))

    def _weight_for(self, x: Tensor) -> Tensor:
        """The weight as oneDNN wants it for inputs like x, laid out anew when the weight or x's shape has changed."""
        key = (x.shape, self.weight.data_ptr(), self.weight._version)
        if self._laid_out is None or self._laid_out[0] != key:
            weight = self.weight.detach().contiguous(memory_format=torch.channels_last).to_mkldnn()
            self._laid_out = (
                key,
                torch.ops.aten.mkldnn_reorder_conv2d_weight(
                    weight, self.padding, self.stride, self.dilation, self.groups, list(x.shape)
                ),
            )
        return self._laid_out[1]

    def __getstate__(self) -> dict[str, Any]:
        # oneDNN's layout can be made again, and neither copied nor pickled.
        return self.__dict__ | {"_laid_out": None}
