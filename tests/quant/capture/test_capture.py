"""A captured graph computes what the module computes, for batches of any size, and leaves the module alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from quant.capture import Captured, SamplePlace, capture


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


def with_statistics(model: nn.Module) -> nn.Module:
    for one in model.modules():
        if isinstance(one, nn.modules.batchnorm._BatchNorm):
            for tensor in (one.running_mean, one.weight, one.bias):
                nn.init.normal_(tensor)
            nn.init.uniform_(one.running_var, 0.5, 2)
    return model.eval()


def operators(captured: Captured) -> list[str]:
    return [n.target.overloadpacket.__name__ for n in captured.graph.graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_runs(batch: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    captured = capture(model, noise(batch, 1, 8, 8))
    for count in (1, 2, 7):
        x = noise(count, 1, 8, 8)
        assert torch.allclose(captured.graph(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
        (nn.Conv1d(4, 6, 3, bias=False, padding="same"), nn.BatchNorm1d(6), (2, 4, 5)),
        (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
        (nn.ConvTranspose3d(2, 3, 2), nn.BatchNorm3d(3), (2, 2, 3, 3, 3)),
        (nn.Linear(4, 6), nn.BatchNorm1d(6), (2, 4)),
    ],
)
def test_a_norm_goes_into_the_operator_before_it(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]) -> None:
    model = with_statistics(nn.Sequential(layer, norm))
    before = copy.deepcopy(model.state_dict())
    captured = capture(model, noise(*shape))
    assert captured.folded == {"1": "0"}
    assert len(operators(captured)) == 1
    assert torch.allclose(captured.graph(noise(*shape)), model(noise(*shape)), atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert set(dict(captured.graph.named_parameters())) >= {"0.weight"}
    assert not any(name.startswith("1.") for name, _ in captured.graph.named_parameters())


def test_a_norm_that_another_reads_too_becomes_a_scale_and_a_shift() -> None:
    model = with_statistics(
        Of(lambda s, x: (lambda y: s.m[1](y) + y)(s.m[0](x)), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    )
    captured = capture(model, noise(2, 2, 5, 5))
    assert captured.folded == {}
    assert operators(captured) == ["conv2d", "mul", "add", "add"]


def test_of_a_norm_over_tokens_the_channels_are_not_those_of_the_linear_layer() -> None:
    model = with_statistics(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    captured = capture(model, noise(2, 4, 4))
    assert captured.folded == {}
    assert torch.allclose(captured.graph(noise(3, 4, 4)), model(noise(3, 4, 4)), atol=1e-5)


def test_weights_that_two_layers_share_fold_for_one_alone() -> None:
    conv = nn.Conv2d(2, 2, 1)
    model = with_statistics(nn.Sequential(conv, nn.BatchNorm2d(2), conv, nn.ReLU()))
    captured = capture(model, noise(2, 2, 3, 3))
    assert list(captured.folded.values()) == ["0"]
    assert torch.allclose(captured.graph(noise(2, 2, 3, 3)), model(noise(2, 2, 3, 3)), atol=1e-5)


def test_what_depends_on_no_input_is_computed_once_and_can_be_trained() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(noise(5, 3))
            self.register_buffer("order", torch.tensor([4, 3, 2, 1]))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.table[self.order].tanh() + torch.arange(3).float().expand(1000, 4, 3)[0]

    captured = capture(Positions().eval(), noise(2, 4, 3))
    assert operators(captured) == ["add", "add"]
    (trained,) = captured.graph.parameters()
    assert trained.shape == (4, 3)
    assert trained.requires_grad


def test_a_constant_that_repeats_itself_is_kept_once() -> None:
    class Expanded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("row", noise(1, 1, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x + (2 * self.row).expand(500, 500, 4)[:2, :2]

    captured = capture(Expanded().eval(), noise(2, 2, 2, 4))
    (kept,) = captured.graph.buffers()
    assert kept.shape == (2, 2, 4)
    assert kept.untyped_storage().nbytes() == 16


@pytest.mark.parametrize(
    ("function", "output", "others"),
    [
        (lambda s, x: x + 1, "", 0),
        (lambda s, x: (x.argmax(1), x + 1), "[1]", 1),
        (lambda s, x: {"index": x.argmax(1), "deep": [x + 1, x]}, "['deep'][0]", 2),
        (lambda s, x: [torch.ones(3), x + 1], "[1]", 1),
    ],
)
def test_of_several_outputs_the_first_with_samples_in_floating_point_is_taken(
    function: Any, output: str, others: int
) -> None:
    captured = capture(Of(function), noise(2, 4))
    assert (captured.output, captured.others) == (output, others)
    assert torch.equal(captured.graph(noise(3, 4)), noise(3, 4) + 1)


def test_inputs_by_name() -> None:
    class Named(nn.Module):
        def forward(self, x: Tensor, mask: Tensor | None = None, *, scale: Tensor | None = None) -> Any:
            y = x if mask is None else x * mask
            return {"y": y if scale is None else y * scale}

    inputs = {"x": noise(2, 4), "scale": noise(2, 1), "mask": torch.tensor([[1, 0, 1, 1]] * 2)}
    captured = capture(Named().eval(), inputs)
    assert captured.output == "['y']"
    assert [n.name for n in captured.graph.graph.nodes if n.op == "placeholder"] == list(inputs)
    expected = inputs["x"] * inputs["mask"] * inputs["scale"]
    assert torch.allclose(captured.graph(*captured.example), expected)


def test_an_exported_program() -> None:
    model = with_statistics(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 3)))
    x = noise(2, 1, 5, 5)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: Dim("batch", min=1, max=64)},))
    for one in (program, program.run_decompositions()):
        captured = capture(one, x)
        assert len(captured.folded) == 1
        assert torch.allclose(captured.graph(noise(3, 1, 5, 5)), model(noise(3, 1, 5, 5)), atol=1e-5)


def test_what_torch_compile_was_given() -> None:
    model = nn.Linear(3, 2).eval()
    assert torch.allclose(capture(torch.compile(model), noise(2, 3)).graph(noise(2, 3)), model(noise(2, 3)))


def test_a_table_that_fills_on_the_first_call_holds_no_traces() -> None:
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(noise(3))
            self.cache: dict[str, Tensor] = {}

        def forward(self, x: Tensor) -> Tensor:
            if "table" not in self.cache:
                self.cache["table"] = self.table.exp()
            return x + self.cache["table"]

    model = Cached().eval()
    captured = capture(model, noise(2, 3))
    assert torch.equal(captured.graph(noise(2, 3)), model(noise(2, 3)))
    assert type(model.cache["table"]) is Tensor


def test_the_networks_own_input_is_not_written_into() -> None:
    x = noise(2, 3)
    captured = capture(Of(lambda s, x: x.mul_(2) + 1), x)
    assert torch.equal(x, noise(2, 3))
    assert torch.equal(captured.graph(x), 2 * x + 1)
    assert torch.equal(x, noise(2, 3))


@pytest.mark.parametrize(
    ("there", "back", "place"),
    [
        (lambda x: x.flatten(0, 1), lambda y: y.unflatten(0, (-1, 4)), SamplePlace(0, 1, 2)),
        (lambda x: x.transpose(0, 1), lambda y: y.transpose(0, 1), SamplePlace(1, 1, 3)),
        (
            lambda x: x.transpose(0, 1).flatten(0, 1),
            lambda y: y.unflatten(0, (4, -1)).transpose(0, 1),
            SamplePlace(0, 4, 2),
        ),
        (
            lambda x: x.transpose(0, 1).unflatten(0, (2, 2)).flatten(1, 2),
            lambda y: y.unflatten(1, (2, -1)).flatten(0, 1).transpose(0, 1),
            SamplePlace(1, 2, 3),
        ),
    ],
)
def test_where_a_value_holds_its_samples(there: Any, back: Any, place: SamplePlace) -> None:
    captured = capture(Of(lambda s, x: back(there(x).exp())), noise(3, 4, 6))
    assert captured.samples["exp"] == place
    steps = torch.stack([there(noise(3, 4, 6)), 2 * there(noise(3, 4, 6))])
    together = there(torch.cat([noise(3, 4, 6), 2 * noise(3, 4, 6)]))
    assert torch.equal(place.split(together, 2), steps)
    assert torch.equal(place.join(steps), together)


def test_samples_are_found_also_in_what_only_their_number_shapes() -> None:
    def windows(self: nn.Module, x: Tensor) -> Tensor:
        tables = torch.arange(4.0).view(4, 1, 1).expand(4, x.shape[0], 6).flatten(0, 1).exp()
        return x + tables.unflatten(0, (4, -1)).transpose(0, 1)

    assert capture(Of(windows), noise(3, 4, 6)).samples["exp"] == SamplePlace(0, 4, 2)
