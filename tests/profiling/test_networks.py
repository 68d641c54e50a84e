"""Attention in all its forms, recurrent layers, shared and tied weights, functional code; dense totals by torch's
own counter, with fused attention taken apart."""

import pytest
import torch
from counting import layer, only, spikes
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from neuro.neurons import LIF
from neuro.profiling import profile


def dense_macs(model, x):
    """Multiply-accumulates by torch's counter, attention decomposed into its products."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.eval()(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() / 2


class SelfAttention(nn.Module):
    """Fused attention, its decomposition, or nn.MultiheadAttention over the same weights."""

    def __init__(self, form, heads=2, width=8):
        super().__init__()
        torch.manual_seed(0)
        self.form, self.heads = form, heads
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        if self.form.startswith("module"):
            return self.attention(x, x, x, need_weights=self.form == "module with weights")[0]
        a = self.attention
        q, k, v = F.linear(x, a.in_proj_weight, a.in_proj_bias).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for t in (q, k, v))
        if self.form == "fused":
            out = F.scaled_dot_product_attention(q, k, v)
        elif self.form == "einsum":
            weights = (torch.einsum("bhnd,bhmd->bhnm", q, k) / 2).softmax(-1)
            out = torch.einsum("bhnm,bhmd->bhnd", weights, v)
        else:
            out = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
        return a.out_proj(out.transpose(-3, -2).flatten(-2))


FORMS = ["fused", "plain", "einsum", "module", "module with weights"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inference", [False, True])
def test_attention_in_all_forms(form, inference):
    model, x = SelfAttention(form), torch.randn(3, 5, 8)
    with torch.inference_mode(inference):
        workload = profile(model, x)
    # projections 8 -> 24 and 8 -> 8 on 5 tokens; two products of 5 x 4 x 5 in each of 2 heads
    assert workload.macs == 5 * 8 * 32 + 2 * 2 * 5 * 4 * 5 == dense_macs(model, x) / 3
    products = [found for found in workload.layers if found.operator == "matmul"]
    assert [found.bounds.macs for found in products] == [200, 200]
    assert [found.bounds.groups for found in products] == [2, 2]


def test_outputs_are_equal():
    outputs = [SelfAttention(form)(torch.ones(3, 5, 8)) for form in FORMS]
    assert all(torch.allclose(out, outputs[0], atol=1e-6) for out in outputs)


def test_fused_attention_is_taken_apart():
    workload = profile(SelfAttention("fused"), torch.randn(3, 5, 8))
    assert workload.notes == ()
    assert [len(found.operands) for found in workload.layers if found.operator == "matmul"] == [2, 2]


def test_a_kernel_that_the_network_insists_on_is_noted():
    class Insists(SelfAttention):
        def forward(self, x):
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                return super().forward(x)

    workload = profile(Insists("fused"), torch.randn(3, 5, 8))
    (note,) = workload.notes
    assert "softmax weights are not visible" in note
    assert workload.macs == 5 * 8 * 32 + 2 * 2 * 5 * 4 * 5


@pytest.mark.parametrize("causal", [False, True])
def test_grouped_queries(causal):
    class Grouped(nn.Module):
        def forward(self, x):
            q, k, v = x.view(2, 6, 8, 4).split((2, 2, 2), 1)
            q = torch.cat([q, q], 1)
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)

    workload = profile(Grouped(), torch.randn(2, 6 * 32))
    # 4 heads of queries, 8 x 4 x 8 twice; a causal mask is not taken off
    assert workload.macs == 2 * 4 * 8 * 4 * 8


def test_fused_attention_on_spikes():
    class Spikes(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(*x.unflatten(1, (3, 2)).unbind(1))

    x = spikes(2, 6, 7, 4)
    q, k, v = x.unflatten(1, (3, 2)).unbind(1)
    scores, values = profile(Spikes(), x).synaptic_layers()
    assert scores.acs == min(int(q.sum()), int(k.sum())) * 7
    assert (values.acs, values.driven_by) == (int(v.sum()) * 7, "right")


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layers(norm_first):
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first), 2, enable_nested_tensor=False
    )
    x = torch.randn(2, 5, 8)
    assert profile(model, x).macs * 2 == dense_macs(model, x)
    assert layer(profile(model, x), "layers.1.linear1").dense_macs == 5 * 8 * 16


def test_encoder_layer_in_time():
    class InTime(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x):
            return self.encoder(x.flatten(0, 1))

    x = torch.zeros(3, 2, 5, 8)
    for t in range(3):
        x[t, 0].view(-1)[: t + 1] = 1
    workload = profile(InTime(), x, time_first=True)
    for name in ("encoder.linear1", "encoder.linear2", "encoder.self_attn.out_proj"):
        assert all(found.timesteps == 3 for found in workload.synaptic_layers()), name
    first = next(workload.synaptic_layers())
    assert first.operand("input").nonzero == (1, 2, 3)
    assert first.out_elements == 5 * 24


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_are_counted(kind, gates, bias, inference):
    model, x = kind(6, 5, num_layers=2, bias=bias), torch.randn(4, 3, 6)
    with torch.inference_mode(inference):
        macs = profile(Recurrent(model), x, time_first=True).macs * 3
    # 3 samples, 4 steps, two layers; the state before the first step is a constant and may be left out
    whole = 3 * 4 * gates * 5 * (6 + 5 + 5 + 5)
    first = 3 * gates * 5 * (5 + 5)
    assert macs in (whole, whole - first)


class Recurrent(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


def test_recurrent_cells_are_counted():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(6, 5)

        def forward(self, x):
            state = (x.new_zeros(2, 5), x.new_zeros(2, 5))
            for x_t in x:
                state = self.cell(x_t, state)
            return state[0]

    # 3 steps x 20 x 6, and 2 steps x 20 x 5: the first state is constant
    assert profile(Loop(), torch.randn(3, 2, 6), time_first=True).macs == 3 * 120 + 2 * 100


class Functional(nn.Module):
    """No submodules at all."""

    def __init__(self):
        super().__init__()
        self.kernel, self.matrix = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.kernel, padding=1)).mean((2, 3))
        return F.linear(F.linear(x, self.matrix), self.matrix.t())  # tied, transposed


def test_functional_network():
    x = torch.randn(3, 2, 6, 6)
    workload = profile(Functional(), x)
    assert workload.macs == 36 * 18 * 4 + 20 + 20 == dense_macs(Functional(), x) / 3
    assert [found.operator for found in workload.synaptic_layers()] == ["conv", "linear", "linear"]
    assert len({found.name for found in workload.layers}) == len(workload.layers)
    conv, first, second = workload.synaptic_layers()
    assert (conv.consumers, first.consumers) == ((first.name,), (second.name,))


def test_two_functional_layers_of_one_module_stay_apart():
    """With and without a bias they are different operations of the dispatcher, but never one layer."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4))

        def forward(self, x):
            return torch.stack([F.linear(F.linear(x_t, self.a, self.b), self.a) for x_t in x])

    found = list(profile(Two(), spikes(2, 3, 4), time_first=True).synaptic_layers())
    assert sum(f.macs + f.acs for f in found) == int(spikes(2, 3, 4).sum()) * 4 + 2 * 3 * 16


def test_tied_weights_in_two_modules():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(10, 6), nn.Linear(6, 10, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, tokens):
            return self.out(self.embed(tokens))

    found = only(profile(Tied(), torch.randint(10, (2, 7))), "linear")
    assert (found.name, found.macs, found.operand("weight").role) == ("out", 2 * 7 * 60, "weight")


def test_nested_nameless_sequentials_and_data_parallel():
    inner = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3)), nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Linear(12, 2)))
    x = torch.randn(2, 2, 4, 4)
    assert [found.name for found in profile(inner, x).synaptic_layers()] == ["0.0", "2.1"]
    wrapped = profile(nn.DataParallel(inner), x)
    assert [found.name for found in wrapped.synaptic_layers()] == ["module.0.0", "module.2.1"]
    assert wrapped.macs == profile(inner, x).macs


def test_a_bare_layer_has_a_name():
    assert [found.name for found in profile(nn.Linear(3, 2), torch.randn(1, 3)).layers] == ["addmm"]


def test_scripted_network():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()
    x = torch.randn(2, 2, 4, 4)
    assert profile(torch.jit.trace(model, x), x).macs == profile(model, x).macs


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.conv3 = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        self.lif, self.head = LIF(step_mode="s"), nn.Linear(6 * 16, 3)

    def forward(self, x):
        first = self.bn(self.conv1(x))
        total = first + self.conv2(first)
        joined = torch.cat([total, self.conv3(first)], dim=1)
        return self.head(self.lif(joined).flatten(1))


def test_edges_pass_through_norms_additions_reshapes_and_concatenation():
    found = {n.name: n for n in profile(Residual(), torch.randn(2, 2, 4, 4), timesteps=1).layers}
    assert found["conv1"].consumers == ("conv2", "conv3", "lif")
    assert found["conv2"].consumers == found["conv3"].consumers == ("lif",)
    assert found["lif"].consumers == ("head",)
    assert found["head"].consumers == ()


def test_edges_through_writing_in_place():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(8, 2)

        def forward(self, x):
            buffer = torch.zeros(len(x), 8)
            buffer[:, :4] = self.a(x)
            buffer[:, 4:].add_(self.b(x)).relu_()
            return self.c(buffer)

    found = {n.name: n for n in profile(InPlace(), torch.randn(2, 4)).layers}
    assert found["a"].consumers == found["b"].consumers == ("c",)
    assert found["c"].macs == 2 * 16


def test_what_is_measured_is_forgotten_when_written_over():
    class Overwritten(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x):
            x = x.clone()
            first = self.a(x)
            return first + self.a(x.add_(1))

    x = spikes(2, 4)
    first, second = profile(Overwritten(), x).synaptic_layers()
    assert first.operand("input").nonzero == (int(x.sum()),)
    assert second.operand("input").nonzero == (8,)
    assert second.operand("input").form == "integer"


def test_constants_at_a_freed_address_are_weights():
    class Constants(nn.Module):
        def forward(self, x):
            for _ in range(20):
                y = x * 2.0
                del y
                weight = torch.full((4, 4), 0.3) + torch.eye(4)
            return x @ weight

    found = [n for n in profile(Constants(), torch.randn(4, 4)).layers if n.operator != "elementwise"]
    assert [n.operator for n in found] == ["linear"]


def test_state_like_the_input_is_no_activation():
    class Stateful(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x).sigmoid() @ x.T

    assert {n.op for n in profile(Stateful(), torch.randn(3, 4)).layers} == {"mm"}


def test_per_head_weights_are_groups():
    class PerHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4, 5))

        def forward(self, x):
            return torch.einsum("bnhd,hde->bnhe", x, self.weight)

    found = only(profile(PerHead(), torch.randn(2, 7, 3, 4)), "linear")
    assert (found.bounds.groups, found.bounds.macs, found.macs) == (3, 7 * 3 * 20, 2 * 7 * 3 * 20)
    assert found.operand("weight").elements == 60


def test_weights_made_from_the_input_are_noted():
    class Dynamic(nn.Module):
        def __init__(self):
            super().__init__()
            self.make = nn.Linear(4, 18)

        def forward(self, x):
            return F.conv2d(torch.ones(1, 2, 4, 4), self.make(x).view(1, 2, 3, 3))

    assert any("depend on the input" in note for note in profile(Dynamic(), torch.randn(1, 4)).notes)


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (2, 3, 33, 31)])
def test_total_of_a_mixed_network(shape):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(8, 4, 2, 2),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(36, 10),
    )
    x = torch.randn(shape)
    workload = profile(model, x)
    assert workload.macs * shape[0] == dense_macs(model, x)
    assert {n.operator for n in workload.layers} == {"conv", "norm", "elementwise", "pool", "linear"}


def test_fan_out_of_a_neuron_is_that_of_all_its_consumers():
    """A 2-channel 4x4 map read by a padded 3x3 convolution to 5 channels and a 1x1 convolution to 3."""

    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = LIF()
            self.wide = nn.Conv2d(2, 5, 3, padding=1)
            self.narrow = nn.Conv2d(2, 3, 1)

        def forward(self, x):
            s = self.neuron(x).flatten(0, 1)
            return self.wide(s).mean() + self.narrow(s).mean()

    workload = profile(Fork(), torch.rand(2, 1, 2, 4, 4))
    (neuron,) = workload.neuron_layers()
    # Dense, padding counted as data: 9 taps x 5 channels, and 1 x 3.
    assert workload.neuron_fan_out(neuron) == 9 * 5 + 3
