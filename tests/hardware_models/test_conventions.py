"""Each convention on workloads small enough to count by hand. Constants in pJ: MAC 4.6, AC 0.9 (fp32)."""

import pytest
from workload_builders import conv3x3, linear, operand, other, product, spikes, workload

from hardware_models.conventions import CONVENTIONS, convention, estimate_quantized, rival_bits, rival_bits_of
from hardware_models.errors import InputError
from hardware_models.workload import Layer, Operand, Workload

PJ = 1e-12
WEIGHT = operand("weight")


def network(batch=1, **stem):
    """Stem 3x3 1 -> 2 on 4x4 (288 MACs), spiking conv 2 -> 2 (576 dense, T=2), linear head 32 -> 10 (320)."""
    return workload(
        conv3x3("stem", 4, (1, 2), operand("input"), WEIGHT, macs=288 * batch, **stem),
        other("lif", "neuron", timesteps=2),
        # 2 timesteps; density 0.5 then 0.25; 400 executed accumulates (432 without borders).
        conv3x3("body", 4, (2, 2), spikes(0.5, 0.25), WEIGHT, timesteps=2, acs=400 * batch, driven_by="input"),
        linear("head", 1, 32, 10, macs=320 * batch),
        batch=batch,
        timesteps=2,
    )


def energies(estimate):
    return {layer.name: layer.energy_j / PJ for layer in estimate.layers}


def test_horowitz45_prices_what_was_executed():
    estimate = convention("horowitz45").estimate(network())
    # 288 * 4.6 = 1324.8; 400 * 0.9 = 360; 320 * 4.6 = 1472.
    assert energies(estimate) == pytest.approx({"stem": 1324.8, "body": 360.0, "head": 1472.0})
    assert (estimate.macs, estimate.acs) == (608, 400)
    assert estimate.energy_j == pytest.approx(3156.8 * PJ)
    assert estimate.energy_band_j == pytest.approx((3156.8 * PJ, 3156.8 * PJ))


def test_spikingformer_prices_dense_operations_by_rate():
    estimate = convention("spikingformer").estimate(network())
    # body: 576 per step * 2 steps * mean rate 0.375 = 432 ACs = 388.8 pJ.
    assert energies(estimate) == pytest.approx({"stem": 1324.8, "body": 388.8, "head": 1472.0})
    assert (estimate.macs, estimate.acs) == (608, pytest.approx(432))


def test_spikingresformer_skips_stem_and_classifier():
    estimate = convention("spikingresformer").estimate(network())
    assert energies(estimate) == pytest.approx({"body": 360.0})
    assert estimate.macs == 0
    assert any("stem, head" in sentence for sentence in estimate.assumptions)


def test_spikingresformer_skips_a_spiking_classifier_too():
    head = linear("head", 1, 32, 10, spikes(0.5), WEIGHT, acs=160, driven_by="input")
    stem, *_ = network().layers
    assert convention("spikingresformer").estimate(workload(stem, head)).layers == ()


def test_ecoformer_prices_dense_multiplications_and_additions():
    estimate = convention("ecoformer").estimate(network())
    # body: spikes save the multiplications, not the additions: 1152 * 0.9 = 1036.8.
    assert energies(estimate) == pytest.approx({"stem": 288 * (3.7 + 0.9), "body": 1036.8, "head": 320 * 4.6})


def test_ecoformer_prices_scaling_as_multiplications():
    scores = other("scale", "elementwise", op="aten.mul.Tensor", out_elements=50, timesteps=2)
    gelu = other("act", "elementwise", op="aten.gelu", out_elements=50)
    assert energies(convention("ecoformer").estimate(workload(scores, gelu))) == pytest.approx({"scale": 100 * 3.7})


def test_ecoformer_counts_operations_of_hashing_as_its_source():
    pair = (operand("left"), operand("right"))
    layers = (
        product("distance", 2, 30, 8, 5, *pair, op="hashing.distance"),
        other("kernel", "elementwise", op="hashing.kernel", out_elements=300),
        other("sum", "reduce", op="hashing.sum", out_elements=8, operands=(operand("input", elements=240),)),
        product("normaliser", 2, 30, 4, 1, *pair, op="hashing.normaliser", driven_by="left", acs=240),
        product("read", 2, 30, 4, 8, *pair, op="hashing.read", driven_by="left", acs=1920),
        other("offset", "elementwise", op="hashing.offset", out_elements=480),
    )
    rules = convention("ecoformer")
    assert energies(rules.estimate(workload(*layers))) == pytest.approx(
        {
            "distance": 2 * 2400 * 0.9,  # a subtraction and an addition, no square
            "kernel": 2 * 300 * 3.7,
            "sum": 240 * 0.9,
            "normaliser": 240 * 4.6,  # multiplied, although codes drive it
            "read": 1920 * 0.9,
            "offset": 480 * 0.9,
        }
    )
    assert rules.operations(workload(*layers)) == (600 + 240, 4800 + 240 + 240 + 1920 + 480)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_counts_are_means_over_the_batch(name):
    one, four = (convention(name).estimate(network(batch)) for batch in (1, 4))
    assert energies(one) == pytest.approx(energies(four))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_what_is_left_out_is_named(name):
    estimate = convention(name).estimate(network())
    assert any("1 neuron" in sentence for sentence in estimate.assumptions)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention_says_what_it_is(name):
    rules = convention(name)
    assert rules.name == name
    assert rules.title
    assert rules.source
    assert len(rules.rules) >= 3
    assert convention(name).estimate(network()).convention == name


def test_unknown_convention_gives_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'spikingformer'"):
        convention("spikeformer")


def test_notes_of_the_workload_reach_the_estimate():
    noted = network().model_copy(update={"notes": ("measured on one sample.",)})
    assert "measured on one sample." in convention("horowitz45").estimate(noted).assumptions


# --- spikingformer's attention


def test_spiking_attention_by_the_published_formula():
    # T=2, 4 heads, N=16 tokens, d_h=8: T heads N d_h^2 = 2 * 4 * 16 * 64 = 8192.
    # rates q .3, k .1, v .2: K^T V takes min(.1, .2), Q (K^T V) takes .3, for K^T V itself is no spike train.
    ktv = product("ktv", 4, 8, 16, 8, spikes(0.1, 0.1, name="left"), spikes(0.2, 0.2, name="right"), timesteps=2)
    context = operand("right", "integer", 4, (0.9, 0.9))
    q = product("q", 4, 16, 8, 8, spikes(0.3, 0.3, name="left"), context, timesteps=2)
    estimate = convention("spikingformer").estimate(workload(ktv, q, timesteps=2))
    assert [layer.acs for layer in estimate.layers] == pytest.approx([819.2, 2457.6])
    assert estimate.energy_j == pytest.approx(8192 * (0.1 + 0.3) * 0.9 * PJ)


def test_spikingformer_knows_binary_spikes_only():
    ternary = linear("fc", 1, 10, 10, operand("input", "ternary", 2, (0.5,)), WEIGHT, acs=50, driven_by="input")
    estimate = convention("spikingformer").estimate(workload(ternary))
    assert estimate.macs == 100
    assert any("fc" in sentence and "count as MACs" in sentence for sentence in estimate.assumptions)


def test_spikes_without_recorded_density_are_refused():
    silent = spikes(0.5).model_copy(update={"density": ()})
    with pytest.raises(InputError, match=r"'fc'.*'input'.*density"):
        convention("spikingformer").estimate(workload(linear("fc", 1, 10, 10, silent, WEIGHT, driven_by="input")))


# --- horowitz45's widths


@pytest.mark.parametrize(
    ("weight", "picojoules"),
    [
        (operand("weight"), 0.9),
        (operand("weight", bits=16), 0.4),
        (operand("weight", "integer", 8), 0.03),
        (operand("weight", "integer", 4), 0.015),  # half an 8-bit addition
    ],
)
def test_an_accumulate_costs_the_width_of_what_is_added(weight, picojoules):
    layer = linear("fc", 1, 10, 10, spikes(0.5), weight, acs=50, driven_by="input")
    assert convention("horowitz45").estimate(workload(layer)).energy_j == pytest.approx(50 * picojoules * PJ)


def test_binary_weights_drive_additions_of_the_input():
    binary = operand("weight", "binary", 1)
    layer = linear("fc", 1, 10, 10, operand("input", bits=16), binary, acs=100, driven_by="weight")
    assert convention("horowitz45").estimate(workload(layer)).energy_j == pytest.approx(100 * 0.4 * PJ)


def test_integer_macs_cost_their_widths():
    layer = linear("fc", 1, 10, 10, operand("input", "integer", 8), operand("weight", "integer", 8), macs=100)
    assert convention("horowitz45").estimate(workload(layer)).energy_j == pytest.approx(100 * 0.23 * PJ)


def test_macs_and_accumulates_of_one_layer_add_up():
    layer = linear("fc", 1, 10, 10, macs=10, acs=20)
    assert convention("horowitz45").estimate(workload(layer)).energy_j == pytest.approx((46 + 18) * PJ)


def test_a_sum_over_spikes_counts_one_bit_additions():
    # 1-bit addition: an eighth of the 8-bit one.
    total = other("sum", "reduce", operands=(spikes(0.5),), acs=80, driven_by="input")
    assert convention("horowitz45").estimate(workload(total)).energy_j == pytest.approx(80 * 0.03 / 8 * PJ)


def test_a_hidden_operand_of_attention_is_taken_as_fp32_and_named():
    values = product("av", 1, 4, 4, 4, spikes(0.5, name="right"), acs=32, driven_by="right")
    estimate = convention("horowitz45").estimate(workload(values))
    assert estimate.energy_j == pytest.approx(32 * 0.9 * PJ)
    assert any("taken as fp32: av" in sentence for sentence in estimate.assumptions)


def test_a_silent_layer_costs_nothing():
    layer = linear("fc", 1, 10, 10, spikes(0.0), WEIGHT, driven_by="input")
    estimate = convention("horowitz45").estimate(workload(layer))
    assert [(line.name, line.energy_j) for line in estimate.layers] == [("fc", 0)]


@pytest.mark.parametrize(
    ("layer", "parts"),
    [
        (linear("fc", 1, 10, 10), ["'fc'", "neither MACs nor ACs"]),
        (linear("fc", 1, 10, 10, spikes(0.5), WEIGHT, driven_by="input"), ["'fc'", "neither MACs nor ACs"]),
        (linear("fc", 1, 10, 10, operand("input"), macs=100), ["'fc'", "one operand"]),
        (linear("fc", 1, 10, 10, spikes(0.5), acs=50, driven_by="input"), ["'fc'", "one operand"]),
        (linear("fc", 1, 10, 10, spikes(0.5), WEIGHT, acs=50, driven_by="left"), ["'fc'", "'left'"]),
        (other("lif", "neuron", acs=5), ["'lif'", "no operands"]),
        (linear("fc", 1, 10, 10, operand("input", bits=8), WEIGHT, macs=100), None),
        (linear("fc", 1, 10, 10, operand("input", bits=64), WEIGHT, macs=100), ["fp64_mul"]),
        (
            linear("fc", 1, 10, 10, spikes(0.5), operand("weight", bits=8), acs=5, driven_by="input"),
            ["fp8_add"],
        ),
    ],
)
def test_missing_figures_are_refused_by_name(layer, parts):
    rules = convention("horowitz45")
    if parts is None:  # an 8-bit float meets a 32-bit one: a 32-bit product, which the table has
        assert rules.estimate(workload(layer)).energy_j == pytest.approx(460 * PJ)
        return
    with pytest.raises(InputError) as error:
        rules.estimate(workload(layer))
    for part in parts:
        assert part in str(error.value)


# --- the quantized rival


@pytest.mark.parametrize(("timesteps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (15, 4), (16, 5)])
def test_rival_bits_hold_t_plus_one_levels(timesteps, bits):
    assert rival_bits(timesteps) == bits
    assert 2 ** (bits - 1) < timesteps + 1 <= 2**bits


def test_rival_of_no_timesteps_is_refused():
    with pytest.raises(InputError, match="T >= 1"):
        rival_bits(0)


def test_quantized_parent_by_hand():
    # 8 bits: 608 MACs * 0.23 + 400 ACs * 0.03 = 139.84 + 12 pJ.
    estimate = estimate_quantized(network(), 8)
    assert estimate.energy_j == pytest.approx(151.84 * PJ)
    # 4 bits: 608 * (0.05 + 0.015) + 400 * 0.015 = 45.52 pJ (see test_arithmetic for the widths).
    assert estimate_quantized(network(), 4).energy_j == pytest.approx(45.52 * PJ)
    assert any("4-bit" in sentence for sentence in estimate_quantized(network(), 4).assumptions)


def test_quantized_parent_carries_the_band_of_derived_widths():
    low, high = estimate_quantized(network(), 4).energy_band_j
    # Low ends 0.0484375 + 0.0125 and 0.0125; high ends 0.055 + 0.02 and 0.02.
    assert low == pytest.approx((608 * 0.0609375 + 400 * 0.0125) * PJ)
    assert high == pytest.approx((608 * 0.075 + 400 * 0.02) * PJ)


@pytest.mark.parametrize("bits", [0, 33, -4])
def test_quantized_widths_outside_the_rule_are_refused(bits):
    with pytest.raises(InputError, match=str(bits)):
        estimate_quantized(network(), bits)


@pytest.mark.parametrize(
    ("form", "bits", "signed", "timesteps", "expected"),
    [
        ("binary", 1, False, 4, 3),  # 0..4
        ("ternary", 2, True, 4, 4),  # -4..4
        ("integer", 3, False, 4, 5),  # spikes 0..7, sums 0..28
        ("power-of-two", 5, True, 1, 5),
        ("power-of-two", 5, True, 4, 8),
        ("binary", 1, False, 1000, 8),
    ],
)
def test_the_rival_holds_what_the_spikes_add_up_to(form, bits, signed, timesteps, expected):
    spikes = Operand(
        name="output",
        bits=bits,
        signed=signed,
        form=form,
        elements=1,
        nonzero=(1,) * timesteps,
        density=(1.0,) * timesteps,
    )
    neuron = Layer(name="n", operator="neuron", op="LIF", timesteps=timesteps, out_elements=1, output=spikes)
    assert rival_bits_of(Workload(name="w", timesteps=timesteps, batch=1, layers=(neuron,))) == expected
