"""What cannot be captured is refused in a sentence that names the line and the way out."""

from __future__ import annotations

import inspect
import logging
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from quant.capture import capture


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class Of(nn.Module):
    """A function of the inputs, with modules, in evaluation mode."""

    def __init__(self, function: Any, *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.m = function, nn.ModuleList(modules)
        self.eval()

    def forward(self, *x: Tensor) -> Any:
        return self.function(self, *x)


def own(function: Callable[..., Any]) -> nn.Module:
    """A module whose forward is this function; torch keeps the lines of functions of that name."""
    forward = types.FunctionType(function.__code__.replace(co_name="forward"), function.__globals__)
    return type("Own", (nn.Module,), {"forward": forward})().eval()


def line_of(function: Callable[..., Any]) -> str:
    """The line of a function that bears a mark."""
    lines, first = inspect.getsourcelines(function)
    (number,) = [first + i for i, line in enumerate(lines) if "# here" in line]
    return f"test_capture_refusals.py:{number} "


def decides(s: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    if y.sum() > 0:  # here
        return y
    return -y


def counts(s: nn.Module, x: Tensor) -> Tensor:
    k = int(x.abs().max().item()) + 1  # here
    return x[:, :k]


def loops(s: nn.Module, x: Tensor) -> Tensor:
    while (x > 1).any():  # here
        x = x / 2
    return x


def leaves_out(s: nn.Module, x: Tensor) -> Tensor:
    return x + x[x > 0].sum()  # here


def bakes_the_batch_in(s: nn.Module, x: Tensor) -> Tensor:
    return x.reshape(2, 3, 4)  # here


def goes_by_the_batch(s: nn.Module, x: Tensor) -> Tensor:
    if x.shape[0] > 3:  # here
        return x
    return 2 * x


def runs_through_the_batch(s: nn.Module, x: Tensor) -> Tensor:
    return torch.stack([one.exp() for one in x])  # here


def subtracts_the_mean_of_the_batch(s: nn.Module, x: Tensor) -> Tensor:
    return x - x.mean(0)  # here


def mixes_in_one_row(s: nn.Module, x: Tensor) -> Tensor:
    return x.view(1, -1).softmax(-1).view(-1, 3, 4)  # here


def compares_samples(s: nn.Module, x: Tensor) -> Tensor:
    y = x.flatten(1)
    return (y @ y.transpose(0, 1)) @ y  # here


def draws(s: nn.Module, x: Tensor) -> Tensor:
    return x + torch.rand_like(x)  # here


def drops_out(s: nn.Module, x: Tensor) -> Tensor:
    return nn.functional.dropout(x)  # here


def leaves_torch(s: nn.Module, x: Tensor) -> Tensor:
    return x + torch.from_numpy(x.numpy())  # here


BATCH = "take sizes from x.shape instead of numbers"


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (decides, r"decides by the values of a tensor what to run next.*torch\.where"),
        (counts, r"decides by the values of a tensor what to run next"),
        (loops, r"decides by the values of a tensor what to run next"),
        (leaves_out, r"aten\.index\.Tensor makes an axis as long as the values of a tensor say.*torch\.where"),
        (bakes_the_batch_in, f"fixes the size of the batch .*{BATCH}"),
        (goes_by_the_batch, f"fixes the size of the batch; {BATCH}"),
        (runs_through_the_batch, f"fixes the size of the batch; {BATCH}"),
        (subtracts_the_mean_of_the_batch, r"aten\.mean\.dim mixes the samples of a batch"),
        (mixes_in_one_row, r"aten\.softmax\.int mixes the samples of a batch"),
        (compares_samples, r"holds the batch in two axes; samples must stay apart"),
        (draws, r"aten\.rand_like\.default draws random numbers also in evaluation mode"),
        (drops_out, r"aten\.native_dropout\.default draws random numbers also in evaluation mode"),
        (leaves_torch, r"torch\.export cannot capture the network at .*numpy"),
    ],
)
def test_the_line_is_named(function: Callable[..., Any], reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=reason) as error:
        capture(own(function), noise(2, 3, 4))
    assert line_of(function).strip() in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_a_result_that_depends_on_how_many_samples_there_are() -> None:
    with pytest.raises(InputError, match=r"differs from the network by 5\.0e-01 of the output on 2 samples"):
        capture(Of(lambda s, x: x * torch.tensor(x.shape[0])), noise(2, 4))


def test_a_norm_that_takes_its_statistics_from_the_batch() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    with pytest.raises(InputError, match=r"^1 \(batchnorm.py:\d+\) normalises by the statistics of the batch"):
        capture(model, noise(2, 1, 5, 5))


def test_training_mode() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout()).eval()
    model[1].train()
    with pytest.raises(InputError, match=r"^1 is in training mode; call model\.eval\(\)"):
        capture(model, noise(2, 3))


def test_weights_that_are_no_numbers() -> None:
    model = nn.Sequential(nn.Linear(3, 3)).eval()
    model[0].bias.data[1] = torch.nan
    with pytest.raises(InputError, match=r"^0\.bias holds NaN; give the weights of a training that converged"):
        capture(model, noise(2, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=rf"^weight is {str(dtype)[6:]}, expected float32.*call model\.float\(\)"):
        capture(nn.Linear(3, 3).to(dtype).eval(), noise(2, 3).to(dtype))


def test_state_that_is_kept_between_calls() -> None:
    class Running(nn.Module):
        def __init__(self, used: bool) -> None:
            super().__init__()
            self.used = used
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return x + (self.count if self.used else 1)

    with pytest.raises(InputError, match=r"changes its buffer count whenever it runs"):
        capture(Running(True).eval(), noise(2, 3))
    assert torch.equal(capture(Running(False).eval(), noise(2, 3)).graph(noise(2, 3)), noise(2, 3) + 1)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ((noise(2, 3), noise(3, 3)), r"inputs have shapes \[2, 3\], \[3, 3\]; give tensors with the batch"),
        ((noise(0, 3),), r"have shapes \[0, 3\]; give tensors with the batch"),
        ((torch.tensor(1.0),), r"have shapes \[\]; give tensors with the batch"),
        ((), r"have shapes nothing; give tensors"),
        ((noise(2, 3), 7), r"an example input is int, expected a tensor; fix other arguments in a module"),
    ],
)
def test_inputs_that_are_no_batches(inputs: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        capture(Of(lambda s, *x: x[0]), inputs)


def test_an_input_among_any_keywords() -> None:
    class Keywords(nn.Module):
        def forward(self, **inputs: Tensor) -> Tensor:
            return inputs["z"] + 1

    with pytest.raises(InputError, match=r"forward takes the input z only among any keywords; name it in a module"):
        capture(Keywords().eval(), {"z": noise(2, 3)})


def test_an_input_that_the_network_does_not_take() -> None:
    with pytest.raises(
        InputError, match=r"fails on inputs \[2, 4\] at .*\(RuntimeError: .*shapes cannot be multiplied"
    ):
        capture(nn.Linear(3, 3).eval(), noise(2, 4))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda s, x: x.argmax(1), r"returns \[s\d+\], expected a floating point tensor with the batch"),
        (lambda s, x: x.transpose(0, 1), r"returns \[4, s\d+\], expected a floating point tensor with the batch"),
        (lambda s, x: torch.ones(3), r"expected a floating point tensor with the batch"),
        (lambda s, x: x.t().flatten(0, 1), r"does not hold its samples one after the other in its first axis"),
    ],
)
def test_outputs_that_are_none(function: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        capture(Of(function), noise(2, 4))


def test_a_program_for_one_size_of_batch() -> None:
    program = torch.export.export(nn.Linear(3, 2).eval(), (noise(2, 3),))
    with pytest.raises(InputError, match=r"one size of batch only; export it with a dynamic first axis"):
        capture(program, noise(2, 3))


def test_a_script() -> None:
    with pytest.raises(InputError, match=r"TorchScript module cannot be captured"):
        capture(torch.jit.trace(nn.Linear(3, 2).eval(), noise(2, 3)), noise(2, 3))


def test_a_complaint_leaves_logging_as_it_was() -> None:
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    before = logger.handlers[:], logger.level, logger.propagate, logging.root.manager.disable
    with pytest.raises(InputError):
        capture(Of(goes_by_the_batch), noise(2, 3, 4))
    assert (logger.handlers[:], logger.level, logger.propagate, logging.root.manager.disable) == before
