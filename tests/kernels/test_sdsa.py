"""Spike-driven self-attention on bits: equal to the reference and to int64 arithmetic, and invisible to profilers."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.library import opcheck
from torch.utils.flop_counter import FlopCounterMode

from hardware_models.errors import InputError, RunError
from neuro.kernels import native
from neuro.kernels.bitpack import pack
from neuro.kernels.dispatch import using
from neuro.kernels.sdsa import Neuron, reference, sdsa
from neuro.models.attention import ATTENTIONS, SDSA1, SDSA3, SDSA4
from neuro.neurons import IF, LIF, PLIF, IntegerLIF

pytestmark = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not() or "-")

NEURONS = {
    "lif": Neuron(0.5, 0.0, 2.0, True, True),
    "soft": Neuron(0.5, None, 2.5, False, True),
    "resting": Neuron(1.0, 0.2, 3.0, True, True),
    "negative": Neuron(0.4, -0.3, 1.5, False, True),
    "if": Neuron(4.0, None, 1.0, False, False),
}
SHAPES = [(1, 1, 1, 1, 1), (4, 2, 3, 49, 33), (5, 1, 2, 63, 7), (9, 2, 1, 65, 5), (32, 1, 1, 12, 4), (2, 1, 1, 784, 99)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8]


def spikes(shape, dtype=torch.float32, channels_first=True, rate=0.3):
    *rest, tokens, width = shape
    if channels_first:
        return (torch.rand(*rest, width, tokens) < rate).to(dtype).transpose(-2, -1)
    return (torch.rand(*rest, tokens, width) < rate).to(dtype)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_reference(shape, dtype):
    for channels_first, kind, name in itertools.product((True, False), (1, 3), NEURONS):
        q, k, v = [spikes(shape, dtype, channels_first) for _ in range(3)]
        for scale in (0.125, torch.tensor(0.03)):
            wanted, last = reference.sdsa(q, k, v, kind, scale, NEURONS[name])
            got, potential = sdsa(q, k, v, NEURONS[name], kind, scale)
            assert got.dtype == dtype
            assert got.shape == wanted.shape
            assert torch.equal(got, wanted), (channels_first, kind, name)
            assert torch.equal(potential, last), (channels_first, kind, name)


@settings(max_examples=80, deadline=None)
@given(
    steps=st.sampled_from([1, 2, 4, 8, 16, 32]),
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    tokens=st.integers(1, 140),
    width=st.integers(1, 40),
    kind=st.sampled_from([1, 3]),
    neuron=st.sampled_from(list(NEURONS.values())),
    rate=st.floats(0, 1),
    channels_first=st.booleans(),
)
def test_any_shape(steps, batch, heads, tokens, width, kind, neuron, rate, channels_first):
    q, k, v = [spikes((steps, batch, heads, tokens, width), channels_first=channels_first, rate=rate) for _ in range(3)]
    wanted, last = reference.sdsa(q, k, v, kind, 0.125, neuron)
    got, potential = sdsa(q, k, v, neuron, kind, 0.125)
    assert torch.equal(got, wanted)
    assert torch.equal(potential, last)


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 2, 49, 33), (1, 2, 1, 300, 250), (1, 1, 1, 1, 64)], ids=str)
def test_products_equal_int64(shape, rate):
    # An IF neuron that cannot fire keeps the product as its potential.
    q, k, v = [spikes(shape, rate=rate) for _ in range(3)]
    _, potential = sdsa(q, k, v, Neuron(1e30, None, leak=False), kind=3)
    product = q.long().double() @ (k.long().double().transpose(-2, -1) @ v.long().double())
    assert torch.equal(potential.double(), product[0])
    _, potential = sdsa(q, k, v, Neuron(1e30, None, leak=False), kind=1)
    assert torch.equal(potential.long(), (k.long() * v.long()).sum(-2, keepdim=True)[0])


@pytest.mark.parametrize("steps", [1, 4, 8, 9, 17])
@pytest.mark.parametrize("kind", [1, 3])
def test_packed_in_and_out(steps, kind):
    q, k, v = [spikes((steps, 2, 2, 21, 6), torch.uint8) for _ in range(3)]
    wanted, last = sdsa(q, k, v, NEURONS["lif"], kind, 0.125)
    got, potential = sdsa(pack(q), pack(k), pack(v), NEURONS["lif"], kind, 0.125, timesteps=steps, packed=True)
    assert torch.equal(got, pack(wanted))
    assert torch.equal(potential, last)
    with using("reference"):
        plain, _ = sdsa(pack(q), pack(k), pack(v), NEURONS["lif"], kind, 0.125, timesteps=steps, packed=True)
    assert torch.equal(got, plain)


def test_layouts_without_any_contiguous_axis():
    wide = [(torch.rand(4, 2, 3, 2 * 21, 2 * 6) < 0.3).float() for _ in range(3)]
    q, k, v = [x[..., ::2, ::2] for x in wide]
    wanted, _ = reference.sdsa(q, k, v, 3, 0.125, NEURONS["lif"])
    assert torch.equal(sdsa(q, k, v, NEURONS["lif"], 3, 0.125)[0], wanted)
    one = q[:, :, :1].expand_as(q)
    wanted, _ = reference.sdsa(one, k, v, 3, 0.125, NEURONS["lif"])
    assert torch.equal(sdsa(one, k, v, NEURONS["lif"], 3, 0.125)[0], wanted)


@pytest.mark.parametrize("shape", [(2, 0, 1, 4, 4), (2, 1, 0, 4, 4), (2, 1, 1, 0, 4), (2, 1, 1, 4, 0)], ids=str)
def test_empty(shape):
    s, potential = sdsa(*[torch.zeros(shape)] * 3, NEURONS["lif"])
    assert s.shape == shape
    assert potential.shape == shape[1:]


@pytest.mark.parametrize("value", [2.0, 0.5, -1.0, float("nan"), float("inf")])
def test_other_values_are_computed_as_the_reference_does(value, caplog):
    q, k, v = [spikes((4, 1, 2, 10, 5)) for _ in range(3)]
    for operand in (q, k, v):
        operand[1, 0, 1, 3, 2] = value
        wanted, last = reference.sdsa(q, k, v, 3, 0.125, NEURONS["lif"])
        got, potential = sdsa(q, k, v, NEURONS["lif"], 3, 0.125)
        assert torch.equal(got, wanted)
        torch.testing.assert_close(potential, last, rtol=0, atol=0, equal_nan=True)
        operand[1, 0, 1, 3, 2] = 0
    assert caplog.text.count("neither 0 nor 1") <= 1  # once in the life of the process
    with using(strict=True), pytest.raises(RunError, match="neither 0 nor 1"):
        sdsa(q.fill_(2), k, v, NEURONS["lif"])


def test_two_threads_agree_with_one():
    q, k, v = [spikes((4, 3, 5, 49, 33)) for _ in range(3)]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = sdsa(q, k, v, NEURONS["lif"], 3, 0.125)
        torch.set_num_threads(2)
        two = sdsa(q, k, v, NEURONS["lif"], 3, 0.125)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": 2}, "give 1, 3 or 4"),
        ({"k": torch.zeros(2, 1, 1, 4, 5)}, "give three times"),
        ({"k": torch.zeros(2, 1, 1, 4, 4, dtype=torch.bool)}, "give one floating-point type"),
        ({"timesteps": 3}, "time-packed"),
        ({"timesteps": 0}, "T must be at least 1"),
    ],
)
def test_bad_input(change, said):
    q, k, v = [torch.zeros(2, 1, 1, 4, 4) for _ in range(3)]
    arguments = {"q": q, "k": k, "v": v, "neuron": NEURONS["lif"]} | change
    with pytest.raises(InputError, match=said):
        sdsa(**arguments)


def test_integers_above_one_are_refused():
    with pytest.raises(InputError, match="values above 1"):
        sdsa(*[torch.full((2, 1, 1, 4, 4), 2, dtype=torch.uint8)] * 3, NEURONS["lif"])


def test_opcheck():
    q, k, v = [spikes((4, 1, 2, 10, 5)) for _ in range(3)]
    for kind, learned, packed in ((1, None, False), (3, torch.tensor(0.125), True)):
        arguments = (q, k, v, kind, 0.125, learned, *NEURONS["lif"], 4, packed)
        opcheck(torch.ops.neuro.sdsa_forward.default, arguments)


# The modules.


def lif(threshold):
    return LIF(2.0, threshold)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("make", [lif, IF, lambda threshold: LIF(3.0, threshold, None, decay_input=False)])
def test_module_equals_its_plain_products(attention, make):
    module = ATTENTIONS[attention](make)
    operands = [spikes((4, 2, 3, 49, 8)) for _ in range(3)]
    with torch.no_grad():
        fast = module(*operands)
        potential = module.neuron.v
        module.neuron.register_forward_hook(lambda *_: None)
        plain = module(*operands)
    assert torch.equal(fast, plain)
    assert torch.equal(potential, module.neuron.v)


@pytest.mark.parametrize("make", [lambda _: PLIF(), lambda _: IntegerLIF(), lambda _: nn.ReLU()])
def test_other_neurons_run_themselves(make):
    operands = [spikes((4, 2, 3, 10, 8)) for _ in range(3)]
    module = SDSA3(make)
    with torch.no_grad():
        q, k, v = operands
        assert torch.equal(module(*operands), module.neuron(q @ (k.transpose(-2, -1) @ v) * 0.125))


def test_watchers_see_the_products_and_the_neuron(monkeypatch):
    operands = [spikes((4, 2, 3, 10, 8)) for _ in range(3)]
    module = SDSA3(lif)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*operands)
    assert counter.get_total_flops() == 2 * 2 * 4 * 2 * 3 * 10 * 8 * 8
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(type(m).__name__))
    try:
        with torch.no_grad():
            module(*operands)
    finally:
        handle.remove()
    assert seen == ["LIF", "SDSA3"]
    fast = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with torch.no_grad(), fast:
        module(*operands)
    assert any("sdsa_forward" in event.key for event in fast.key_averages())


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradients_come_from_the_plain_products(attention):
    operands = [spikes((4, 2, 3, 10, 8)).requires_grad_() for _ in range(3)]
    module = ATTENTIONS[attention](lif)
    out = module(*operands)
    out.sum().backward()
    assert all(x.grad is not None for x in operands)
    with torch.no_grad():
        assert torch.equal(module(*operands), out)


@pytest.mark.parametrize("attention", [SDSA1, SDSA3, SDSA4])
def test_compiles_into_one_graph(attention):
    module = attention(lif)
    operands = [spikes((4, 2, 3, 10, 8)) for _ in range(3)]
    with torch.no_grad():
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(*operands), module(*operands))


def test_export():
    class Bare(nn.Module):
        def forward(self, q, k, v):
            return sdsa(q, k, v, NEURONS["lif"], 3, 0.125)[0]

    operands = tuple(spikes((4, 2, 3, 10, 8)) for _ in range(3))
    exported = torch.export.export(Bare(), operands)
    assert torch.equal(exported.module()(*operands), Bare()(*operands))
