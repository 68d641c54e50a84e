"""Nothing is silently left out: what cannot be seen into is refused, what is unknown is listed."""

import uuid

import pytest
import torch
from counting import only
from torch import nn
from torch.nn import functional as F

from hardware_models.errors import InputError
from neuro.profiling import profile


class Run(nn.Module):
    def __init__(self, run, *weights):
        super().__init__()
        self.run, self.weights = run, nn.ParameterList(weights)

    def forward(self, x):
        return self.run(x, *self.weights)


REFUSED = {
    "trilinear": lambda x: F.bilinear(x, x, torch.ones(2, 6, 6)),
    "fft": lambda x: torch.fft.rfft(x).abs(),
    "cdist": lambda x: torch.cdist(x, x),
    "solve": lambda x: torch.linalg.solve(torch.eye(4) + x @ x.T, x),
    "inverse": lambda x: torch.linalg.inv(torch.eye(4) + x @ x.T),
    "svd": lambda x: torch.linalg.svd(x)[1],
    "cholesky": lambda x: torch.linalg.cholesky(torch.eye(4) + x @ x.T),
    "embedding bag": lambda x: F.embedding_bag(
        x.abs().long() % 3, torch.ones(3, 2), mode="sum", per_sample_weights=x.sigmoid()
    ),
    "sparse product": lambda x: torch.sparse.mm(torch.eye(4).to_sparse(), x),
    "sparse activation": lambda x: x.to_sparse() @ torch.ones(6, 2),
    "mkldnn": lambda x: x.to_mkldnn().to_dense(),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("inference", [False, True])
def test_hidden_products_are_refused(name, inference):
    with torch.inference_mode(inference), pytest.raises(InputError) as error:
        profile(Run(REFUSED[name]), torch.randn(4, 6))
    assert "profile" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_refusal_names_the_module():
    model = nn.Sequential(nn.ReLU(), nn.Sequential(Run(REFUSED["fft"])))
    with pytest.raises(InputError, match=r"1\.0 uses aten\._fft_r2c"):
        profile(model, torch.randn(4, 6))


def test_a_network_cannot_swallow_a_refusal():
    def careful(x):
        try:
            return torch.fft.rfft(x).abs()
        except Exception:
            return x

    with pytest.raises(InputError, match="fft"):
        profile(Run(careful), torch.randn(4, 6))


def test_higher_order_operators_are_refused():
    def branch(x):
        return torch.cond(x.sum() > 0, lambda y: y @ y.T, lambda y: y @ y.T, (x,))

    with pytest.raises(InputError, match="higher_order"):
        profile(Run(branch), torch.randn(4, 6))


@pytest.mark.filterwarnings("ignore")
def test_compiled_networks_are_seen():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        compiled(torch.randn(4, 6))
    assert profile(compiled, torch.randn(4, 6)).macs == profile(model, torch.randn(4, 6)).macs == 32


def test_scripted_code_cannot_swallow_a_refusal():
    model = torch.jit.trace(Run(lambda x: torch.fft.rfft(x).abs()), torch.randn(4, 6))
    with pytest.raises(InputError, match="fft"):
        profile(model, torch.randn(4, 6))


LISTED = {
    "softmax": lambda x: x.softmax(-1),
    "comparison": lambda x: x > 0,
    "rounding to integers": lambda x: x.round().int() + 1,
    "scatter add": lambda x: torch.zeros(4, 6).scatter_add(1, torch.zeros(4, 6, dtype=torch.long), x),
    "index add": lambda x: torch.zeros(2, 6).index_add(0, torch.tensor([0, 1, 1, 0]), x),
    "resampling": lambda x: F.interpolate(x.view(1, 1, 4, 6), scale_factor=2, mode="bilinear"),
    "grid sample": lambda x: F.grid_sample(x.view(1, 1, 4, 6), torch.zeros(1, 2, 2, 2), align_corners=False),
    "fold": lambda x: F.fold(x.view(1, 4, 6)[:, :, :4], 3, 2),
    "squared difference": lambda x: torch.addcmul(x, x, x),
    "outer product": lambda x: torch.outer(x[0], x[1]),
    "cumulative sum": lambda x: x.cumsum(0),
}


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("inference", [False, True])
def test_everything_else_that_computes_is_listed(name, inference):
    with torch.inference_mode(inference):
        layers = profile(Run(LISTED[name]), torch.randn(4, 6)).layers
    assert layers
    assert {found.operator for found in layers} <= {"elementwise", "reduce", "add"}


MOVED = {
    "view": lambda x: x.view(2, -1).t(),
    "gather": lambda x: x.gather(1, torch.zeros(4, 2, dtype=torch.long)),
    "index": lambda x: x[torch.tensor([0, 2])],
    "mask": lambda x: x[:, torch.tensor([True, False] * 3)],
    "pad": lambda x: F.pad(x, (1, 2)),
    "nearest": lambda x: F.interpolate(x.view(1, 1, 4, 6), scale_factor=2),
    "shuffle": lambda x: F.pixel_shuffle(x.view(1, 4, 2, 3), 2),
    "roll": lambda x: x.roll(1, 0),
    "cast": lambda x: x.half().float(),
    "unused": lambda x: torch.zeros_like(x),
}


@pytest.mark.parametrize("name", MOVED)
def test_moving_data_costs_no_operation(name):
    assert profile(Run(MOVED[name]), torch.randn(4, 6)).layers == ()


@pytest.fixture
def library():
    """A namespace of operators with kernels that torch cannot see into."""
    name = f"strange{uuid.uuid4().hex[:8]}"
    made = torch.library.Library(name, "DEF")

    def define(schema, kernel):
        made.define(schema)
        made.impl(schema.split("(")[0], kernel, "CPU")
        return getattr(getattr(torch.ops, name), schema.split("(")[0])

    yield define
    made._destroy()


def test_unknown_operator_is_listed_and_noted(library):
    squash = library("squash(Tensor x) -> Tensor", lambda x: x / (1 + x.abs()))
    workload = profile(Run(lambda x: squash(x) * 2), torch.randn(4, 6))
    found = next(n for n in workload.layers if n.op.endswith("::squash"))
    assert found.operator == "elementwise"
    (note,) = workload.notes
    assert "squash" in note
    assert "not counted" in note


def test_unknown_operator_with_integer_or_several_results_is_listed(library):
    split = library("halves(Tensor x) -> (Tensor, Tensor)", lambda x: ((x > 0).int(), x.abs()))
    workload = profile(Run(lambda x: split(x)[1]), torch.randn(4, 6))
    assert [n.op.rpartition("::")[2] for n in workload.layers] == ["halves"]


def test_its_result_still_depends_on_the_input(library):
    squash = library("squash(Tensor x) -> Tensor", lambda x: x / (1 + x.abs()))
    found = only(profile(Run(lambda x, w: squash(x) @ w, torch.randn(6, 2)), torch.randn(4, 6)), "linear")
    assert found.macs == 48


@pytest.mark.parametrize("name", ["mm", "linear", "my_conv2d", "flash_attention", "spike_matmul", "conv1d"])
def test_unknown_operator_that_multiplies_by_its_name_is_refused(library, name):
    product = library(f"{name}(Tensor x, Tensor w) -> Tensor", torch.mm)
    with pytest.raises(InputError, match=f"::{name}"):
        profile(Run(product, torch.randn(6, 2)), torch.randn(4, 6))


def test_composed_operator_is_taken_apart():
    name = f"strange{uuid.uuid4().hex[:8]}"
    made = torch.library.Library(name, "DEF")
    made.define("twice(Tensor x, Tensor w) -> Tensor")
    made.impl("twice", lambda x, w: (x @ w) @ w, "CompositeImplicitAutograd")
    try:
        found = profile(Run(getattr(torch.ops, name).twice, torch.randn(6, 6)), torch.randn(4, 6))
        assert found.macs == 72
    finally:
        made._destroy()


def test_python_custom_operator_is_listed():
    name = f"strange{uuid.uuid4().hex[:8]}::shift"

    @torch.library.custom_op(name, mutates_args=())
    def shift(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    assert [n.op for n in profile(Run(shift), torch.randn(4, 6)).layers] == [name]


def test_autograd_functions_are_seen_inside():
    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            return ((x @ w) > 0).float()

    found = profile(Run(Spike.apply, torch.randn(6, 2)), torch.randn(4, 6)).layers
    assert [n.operator for n in found] == ["linear", "elementwise"]


def test_spikingjelly_packed_spikes_do_not_vanish():
    functional = pytest.importorskip("spikingjelly.activation_based.neuron")
    model = nn.Sequential(functional.LIFNode(step_mode="s"), nn.Linear(6, 2))
    layers = profile(model, 3 * torch.rand(4, 6), timesteps=1).layers
    assert [n.operator for n in layers] == ["neuron", "linear"]


def test_normalised_vectors_hide_no_product():
    workload = profile(Run(lambda x, w: F.normalize(x) @ w, torch.randn(6, 3)), torch.randn(2, 6))
    (layer,) = workload.synaptic_layers()
    assert layer.macs == 2 * 6 * 3
