import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quant import rounding
from quant.capture import capture
from quant.moments import as_product


def correlated(count: int, rows: int, seed: int) -> Tensor:
    """Inputs `[rows, count]` of which a few directions make most."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(count, count, generator=generator) * torch.logspace(0, -2, count).unsqueeze(1)
    return torch.randn(rows, count, generator=generator) @ mix


def problem(outputs: int, count: int, bits: int, seed: int) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """Weights, scales, Gram matrix and the ends of the codes."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, outputs, count, generator=generator)
    high = 2 ** (bits - 1) - 1
    scale = (weight.abs().amax(2, keepdim=True) / high).expand_as(weight)
    x = correlated(count, 500, seed + 1)
    return weight, scale, (x.T @ x / 500).unsqueeze(0), -high, high


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(2, 6), st.integers(0, 1000))
def test_gptq_loses_less_than_nearest_on_correlated_inputs(count, bits, seed):
    weight, scale, gram, low, high = problem(32, count, bits, seed)
    found = rounding.gptq(weight, scale, low, high, gram)
    plain = rounding.nearest(weight, scale, low, high)
    assert bool(((found >= low) & (found <= high) & (found == found.round())).all())
    slack = 1.05 if count < 6 else 1.0  # with few inputs there is little to make up with
    assert rounding.loss(found, weight, scale, gram) <= slack * rounding.loss(plain, weight, scale, gram)


def test_of_two_weights_both_find_the_best_of_all_pairs():
    gram = torch.tensor([[[1.0, 0.7], [0.7, 0.6]]])
    weight, scale = torch.tensor([[[0.45, 0.4]]]), torch.ones(1, 1, 2)
    pairs = [torch.tensor([[[a, b]]], dtype=torch.float32) for a, b in itertools.product(range(-3, 4), repeat=2)]
    best = min(pairs, key=lambda q: rounding.loss(q, weight, scale, gram))
    # By hand, with nearest 0, 0: .2025 + 2 (.7) (.45) (.4) + .6 (.16) = .5505; with 0, 1: .2025 - .378 + .216 = .0405;
    # with 1, 0: .3025 - .308 + .096 = .0905.
    assert best.flatten().tolist() == [0, 1]
    assert rounding.loss(best, weight, scale, gram) == pytest.approx(0.0405)
    assert rounding.gptq(weight, scale, -3, 3, gram, damping=0.0).equal(best)
    assert rounding.adaround(weight, scale, -3, 3, gram).equal(best)


def test_of_independent_inputs_every_rounding_is_the_nearest():
    weight, scale, _, low, high = problem(4, 7, 4, 0)
    gram = torch.diag(torch.arange(1.0, 8)).unsqueeze(0)
    wanted = rounding.nearest(weight, scale, low, high)
    assert rounding.gptq(weight, scale, low, high, gram).equal(wanted)
    assert rounding.adaround(weight, scale, low, high, gram).equal(wanted)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 1000))
def test_adaround_keeps_to_the_two_neighbours_and_never_loses_more_than_nearest(count, bits, seed):
    weight, scale, gram, low, high = problem(8, count, bits, seed)
    found = rounding.adaround(weight, scale, low, high, gram)
    assert bool(((found * scale - weight).abs() <= scale * 1.0001).all())
    assert bool(((found >= low) & (found <= high)).all())
    plain = rounding.nearest(weight, scale, low, high)
    assert rounding.loss(found, weight, scale, gram) <= rounding.loss(plain, weight, scale, gram) * (1 + 1e-9)


def test_adaround_comes_near_to_the_best_of_all_choices():
    found, best, plain = [], [], []
    for seed in range(20):
        weight, scale, gram, low, high = problem(1, 8, 4, seed)
        below = torch.floor(weight / scale)
        choices = [(below + torch.tensor(up)).clamp(low, high) for up in itertools.product((0.0, 1.0), repeat=8)]
        best.append(min(rounding.loss(q, weight, scale, gram) for q in choices))
        plain.append(rounding.loss(rounding.nearest(weight, scale, low, high), weight, scale, gram))
        found.append(rounding.loss(rounding.adaround(weight, scale, low, high, gram), weight, scale, gram))
        assert best[-1] * (1 - 1e-6) <= found[-1] <= plain[-1] * (1 + 1e-6)
    assert sum(plain) - sum(found) > 0.7 * (sum(plain) - sum(best))  # descent may end in a local minimum


def test_inputs_that_are_always_zero_or_copies_do_no_harm():
    weight, scale, gram, low, high = problem(4, 6, 4, 0)
    gram[:, 2], gram[:, :, 2] = 0.0, 0.0
    gram[:, 4], gram[:, :, 4] = gram[:, 3], gram[:, :, 3]
    gram[:, 4, 4] = gram[:, 3, 3]
    found = rounding.gptq(weight, scale, low, high, gram)
    assert bool(found.isfinite().all())
    assert found[..., 2].equal(rounding.nearest(weight, scale, low, high)[..., 2])
    nothing = rounding.gptq(weight, scale, low, high, torch.zeros_like(gram))
    assert nothing.equal(rounding.nearest(weight, scale, low, high))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, stride=2), (5, 4, 7, 7)),
        (nn.Conv2d(4, 4, 3, groups=4, padding="same"), (5, 4, 6, 6)),
        (nn.Conv2d(4, 6, 3, groups=2, dilation=2), (5, 4, 7, 7)),
        (nn.Conv1d(4, 6, 3), (5, 4, 9)),
        (nn.Conv3d(2, 3, 2), (5, 2, 4, 4, 4)),
        (nn.Linear(4, 6), (5, 3, 4)),
    ],
)
def test_a_layer_is_the_product_of_its_weights_and_patches(layer, shape):
    x = torch.randn(shape)
    captured = capture(layer.eval(), x)
    (node,) = [one for one in captured.graph.graph.nodes if as_product(one) is not None]
    product = as_product(node)
    assert product is not None
    weight = layer.weight.detach()
    rows = product.inputs(x, weight)
    y = (rows @ product.weights(weight).transpose(1, 2)).transpose(0, 1).flatten(1) + layer.bias
    wanted = layer(x)
    axis = wanted.dim() - 1 if isinstance(layer, nn.Linear) else 1
    torch.testing.assert_close(y, wanted.movedim(axis, -1).flatten(0, -2), atol=1e-5, rtol=1e-4)
    gram = product.gram([x[:2], x[2:]], weight)
    torch.testing.assert_close(gram.float(), rows.transpose(1, 2) @ rows / rows.shape[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bits", [3, 4])
def test_gptq_loses_no_more_than_that_of_brevitas(bits):
    qnn = pytest.importorskip("brevitas.nn")
    from brevitas.graph.gptq import gptq_mode
    from brevitas.quant import Int8WeightPerChannelFloat

    torch.manual_seed(0)
    x = correlated(48, 1000, 5)
    layer = nn.Linear(48, 32, bias=False)
    theirs = qnn.QuantLinear(
        48,
        32,
        bias=False,
        weight_quant=Int8WeightPerChannelFloat,
        weight_bit_width=bits,
        weight_scaling_impl_type="parameter_from_stats",  # one made of statistics is that of each column alone there
    )
    theirs.weight.data.copy_(layer.weight.data)
    theirs.eval()
    scale = theirs.quant_weight().scale.detach().clone()
    network = nn.Sequential(theirs)
    with torch.no_grad(), gptq_mode(network, act_order=True, use_quant_activations=False) as mode:
        for _ in range(mode.num_layers):
            mode.model(x)
            mode.update()
    weight = layer.weight.detach().unsqueeze(0)
    gram = (x.T @ x / len(x)).unsqueeze(0)
    kept = theirs.quant_weight().value.detach().unsqueeze(0)
    their_loss = rounding.loss(kept, weight, torch.ones_like(kept), gram)
    high = 2 ** (bits - 1) - 1
    steps = scale.unsqueeze(0).expand_as(weight)
    ours = rounding.gptq(weight, steps, -high, high, gram)
    assert their_loss < rounding.loss(rounding.nearest(weight, steps, -high, high), weight, steps, gram)
    assert rounding.loss(ours, weight, steps, gram) <= 1.03 * their_loss
