"""Exact accumulates of every kind of product, against loops over spikes, all-ones convolutions and hand sums."""

import pytest
import torch
from counting import by_ones, conv_accumulates, counts, only, profiled_layer, spikes, transposed_accumulates
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from neuro.profiling import profile

CONVOLUTIONS = [
    pytest.param(nn.Conv2d(3, 4, 3), id="valid"),
    pytest.param(nn.Conv2d(3, 4, 3, padding=1), id="padded"),
    pytest.param(nn.Conv2d(3, 4, 3, stride=2, padding=1), id="strided"),
    pytest.param(nn.Conv2d(3, 4, 3, dilation=2, padding=2), id="dilated"),
    pytest.param(nn.Conv2d(3, 4, (1, 5), stride=(2, 3), padding=(0, 2)), id="oblong"),
    pytest.param(nn.Conv2d(3, 4, 1), id="pointwise"),
    pytest.param(nn.Conv2d(3, 4, 1, stride=2), id="pointwise strided"),
    pytest.param(nn.Conv2d(3, 4, 1, padding=1), id="pointwise padded"),
    pytest.param(nn.Conv2d(3, 6, 3, padding=1, groups=3), id="grouped"),
    pytest.param(nn.Conv2d(3, 3, 3, padding=1, groups=3), id="depthwise"),
    pytest.param(nn.Conv2d(3, 4, 5, padding=4), id="padding wider than the border"),
    pytest.param(nn.Conv2d(3, 4, 3, stride=4), id="stride beyond the kernel: some spikes reach nothing"),
    pytest.param(nn.Conv1d(3, 4, 3, stride=2, padding=1), id="1d"),
    pytest.param(nn.Conv3d(3, 4, (2, 3, 1), stride=(1, 2, 1), padding=(1, 0, 0)), id="3d"),
]


def sample(module, make=spikes):
    axes = len(module.kernel_size)
    return make(2, 3, *(6, 7, 5)[:axes], seed=axes)


@pytest.mark.parametrize("module", CONVOLUTIONS)
@pytest.mark.parametrize("make", [spikes, counts, lambda *s, seed: spikes(*s, seed=seed) - spikes(*s, seed=seed + 1)])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_convolution(module, make, scale):
    x = sample(module, make)
    found = profiled_layer(module, x * scale, "conv", time_first=False)
    assert found.acs == conv_accumulates(module, x) == by_ones(module, x)
    assert (found.macs, found.driven_by) == (0, "input")
    assert found.operand("input").scale == pytest.approx(scale, rel=1e-6)
    assert sum(found.operand("input").magnitude) == int(x.abs().sum())
    assert found.operand("input").nonzero == (int(x.count_nonzero()),)


@pytest.mark.parametrize("module", CONVOLUTIONS)
def test_float_convolution_is_dense(module):
    x = torch.randn_like(sample(module))
    with FlopCounterMode(display=False) as counter:
        module(x)
    found = profiled_layer(module, x, "conv", time_first=False)
    assert (found.macs, found.acs, found.driven_by) == (counter.get_total_flops() // 2, 0, None)
    assert found.dense_macs * 2 == found.macs  # two samples


@pytest.mark.parametrize(
    "module",
    [
        nn.ConvTranspose2d(3, 4, 3),
        nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
        nn.ConvTranspose2d(3, 6, 2, stride=2, groups=3),
        nn.ConvTranspose2d(3, 4, 3, dilation=2, padding=2),
        nn.ConvTranspose1d(3, 4, 4, stride=2, padding=1),
        nn.ConvTranspose3d(3, 2, 2, stride=2),
    ],
    ids=repr,
)
def test_transposed_convolution(module):
    x = sample(module, counts)
    found = profiled_layer(module, x, "conv", time_first=False)
    assert found.acs == transposed_accumulates(module, x)
    dense = profiled_layer(module, torch.randn_like(x), "conv", time_first=False)
    with FlopCounterMode(display=False) as counter:
        module(x)
    assert dense.macs == counter.get_total_flops() // 2


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 99)
)
def test_any_geometry(kernel, stride, padding, dilation, groups, seed):
    size = dilation * (kernel - 1) + 3
    module = nn.Conv2d(2, 4, kernel, stride, padding, dilation, groups)
    x = counts(1, 2, size, size + 1, seed=seed)
    assert profiled_layer(module, x, "conv").acs == by_ones(module, x)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_padding(padding):
    module = nn.Conv2d(3, 4, 3, padding=padding)
    x = spikes(2, 3, 6, 6)
    numbers = nn.Conv2d(3, 4, 3, padding=1 if padding == "same" else 0)
    assert profiled_layer(module, x, "conv").acs == by_ones(numbers, x)


def test_circular_padding_copies_spikes():
    module = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    x = spikes(2, 3, 6, 6)
    # without a border every spike meets all 9 taps of all 4 outputs
    assert profiled_layer(module, x, "conv").acs == int(x.sum()) * 9 * 4


class Unfolded(nn.Module):
    """A 3x3 convolution written as a matrix product of its patches."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 27))

    def forward(self, x):
        return self.weight @ F.unfold(x, 3, padding=1)


def test_convolution_by_unfolding():
    x = spikes(2, 3, 6, 6)
    found = profiled_layer(Unfolded(), x, "linear")
    assert found.acs == by_ones(nn.Conv2d(3, 4, 3, padding=1), x)
    assert found.operand("weight").elements == 4 * 27
    assert found.dense_macs == 36 * 27 * 4


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 5), (2, 7, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("inference", [True, False])
def test_linear(shape, bias, inference):
    module = nn.Linear(5, 6, bias=bias)
    x = counts(*shape)
    with torch.inference_mode(inference):
        found = profiled_layer(module, x, "linear")
    assert found.acs == int(x.sum()) * 6
    positions = x[0].numel() // 5
    assert found.bounds.gemm == (positions, 6, 5)
    assert found.dense_macs == positions * 30
    assert profiled_layer(module, torch.randn(shape), "linear").macs == 2 * positions * 30


class Product(nn.Module):
    def forward(self, x):
        return x[..., :3] @ x[..., 3:].transpose(-2, -1)


def test_product_of_two_spike_operands_is_driven_by_the_cheaper():
    # left [4, 3] with 2 spikes, each read by 4 columns: 8; right [3, 4] with 1 spike read by 4 rows: 4
    x = torch.zeros(1, 4, 6)
    x[0, 0, 0] = x[0, 3, 2] = 1
    x[0, 2, 4] = 1
    found = profiled_layer(Product(), x, "matmul")
    assert (found.acs, found.driven_by) == (4, "right")
    x[0, 1, 3:] = 1  # the right one has 4 now: 16 against 8
    found = profiled_layer(Product(), x, "matmul")
    assert (found.acs, found.driven_by) == (8, "left")
    assert found.bounds.macs == 4 * 4 * 3


def test_product_with_one_spike_operand():
    x = torch.randn(2, 4, 6)
    x[..., :3] = spikes(2, 4, 3)
    found = profiled_layer(Product(), x, "matmul")
    assert (found.acs, found.driven_by) == (int(x[..., :3].sum()) * 4, "left")
    assert (found.operand("left").form, found.operand("right").form) == ("binary", "float")


@pytest.mark.parametrize(
    ("levels", "form"), [([-1.0, 1.0], "ternary"), ([-1.0, 0.0, 1.0], "ternary"), ([0.0, 1.0], "binary")]
)
def test_low_bit_weights_drive_float_input(levels, form):
    module = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    pick = torch.randint(len(levels), module.weight.shape, generator=torch.Generator().manual_seed(0))
    module.weight.data = torch.tensor(levels)[pick] * 0.05
    found = profiled_layer(module, torch.randn(2, 3, 5, 5), "conv")
    nonzero = int(module.weight.count_nonzero())
    # every non-zero weight is added at each of 25 positions of 2 samples, padding counted as data
    assert (found.acs, found.macs, found.driven_by) == (nonzero * 25 * 2, 0, "weight")
    weight = found.operand("weight")
    assert (weight.form, weight.nonzero, weight.role) == (form, (nonzero,), "weight")
    assert weight.bits == (2 if 0.0 in levels and form == "ternary" else 1)


def test_the_cheaper_of_spikes_and_weights_drives():
    module = nn.Linear(4, 3, bias=False)
    module.weight.data = torch.ones(3, 4)
    module.weight.data[0] = -1
    few, all_ones = torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1, 4)
    assert profiled_layer(module, few, "linear").acs == 3  # 1 spike x 3 outputs, 12 weights
    assert profiled_layer(module, few, "linear").driven_by == "input"
    assert profiled_layer(module, all_ones, "linear").acs == 12


def test_integer_weights_do_not_spare_the_multiplier():
    module = nn.Linear(4, 3, bias=False)
    module.weight.data = torch.tensor([[1.0, 2, 3, -4]] * 3)
    found = profiled_layer(module, torch.randn(2, 4), "linear")
    assert (found.macs, found.driven_by) == (24, None)
    assert (found.operand("weight").form, found.operand("weight").bits) == ("integer", 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    module = nn.Conv2d(3, 4, 3, padding=1).to(dtype)
    x = counts(2, 3, 5, 5)
    found = profiled_layer(module, x.to(dtype), "conv")
    assert found.acs == by_ones(nn.Conv2d(3, 4, 3, padding=1), x)
    assert profiled_layer(module, torch.randn(2, 3, 5, 5).to(dtype), "conv").operand("input").bits == (
        16 if dtype == torch.bfloat16 else 64
    )


def test_autocast():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 2))
    x = spikes(2, 3, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        workload = profile(module, x)
    assert only(workload, "conv").acs == by_ones(module[0], x)
    assert only(workload, "linear").operand("weight").bits == 16


def test_int8_product_is_counted():
    class Int8(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.randint(-128, 127, (32, 24), dtype=torch.int8))

        def forward(self, x):
            return torch._int_mm(x.to(torch.int8), self.weight)

    found = profiled_layer(Int8(), torch.randint(-128, 127, (20, 32)).float(), "linear")
    assert (found.macs, found.operand("input").bits, found.operand("weight").bits) == (20 * 32 * 24, 8, 8)
    assert profiled_layer(Int8(), spikes(20, 32), "linear").acs == int(spikes(20, 32).sum()) * 24


def test_sum_of_spikes_takes_an_addition_each():
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    x = counts(2, 3, 4, 4)
    assert profiled_layer(Mean(), x, "reduce").acs == int(x.sum())
    assert profiled_layer(Mean(), torch.randn(2, 3, 4, 4), "reduce").acs == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.floats(0.05, 0.95), st.integers(0, 999))
def test_splitting_a_batch_adds_up(batch, cut, density, seed):
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 5))
    x = spikes(batch, 2, 4, 4, density=density, seed=seed)
    x[:, 0, 0, 0] = 1
    cut = min(cut, batch - 1)
    whole, first, rest = (profile(model, part) for part in (x, x[:cut], x[cut:]))
    for a, b, c in zip(whole.layers, first.layers, rest.layers, strict=True):
        assert (a.acs, a.macs) == (b.acs + c.acs, b.macs + c.macs)
        assert a.out_elements == b.out_elements == c.out_elements
    assert whole.acs * batch == pytest.approx(first.acs * cut + rest.acs * (batch - cut))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)), st.integers(0, 99))
def test_order_of_the_samples_does_not_matter(order, seed):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2))
    x = spikes(5, 2, 4, 4, seed=seed)
    assert profile(model, x).layers[0] == profile(model, x[list(order)]).layers[0]


def test_the_worked_example_of_the_documentation():
    conv = nn.Sequential(nn.Flatten(0, 1), nn.Conv2d(1, 2, 3, padding=1))
    x = torch.zeros(2, 1, 1, 3, 3)
    x[0, 0, 0, 0, 0] = x[1, 0, 0, 0, 1] = x[1, 0, 0, 1, 1] = 1
    found = profiled_layer(conv, x, "conv")
    # a corner reaches 4 positions, an edge 6, the centre 9; two output channels
    assert (found.acs, found.macs, found.dense_macs) == ((4 + 6 + 9) * 2, 0, 324)
    assert found.operand("input").nonzero == (1, 2)
    assert found.fan_out == 81 * 2 / 9
    x[1, 0, 0, 1, 1] = 3
    assert profiled_layer(conv, x * 0.1, "conv").acs == (4 + 6 + 3 * 9) * 2
    x[0, 0, 0, 2, 2] = 0.01
    assert profiled_layer(conv, x, "conv").macs == 324
