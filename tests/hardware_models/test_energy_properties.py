"""Laws that hold for any workload: energy never falls when work grows, and counts add up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workload_builders import conv3x3, linear, operand, spikes, workload

from hardware_models.conventions import CONVENTIONS, convention, estimate_quantized

counts = st.integers(0, 10**15)
sizes = st.integers(1, 64)
rates = st.floats(0, 1)
names = st.sampled_from(sorted(CONVENTIONS))


def with_body(body):
    """The body between a stem and a head, so that no convention skips it."""
    stem = conv3x3("stem", 4, (1, 1), operand("input"), operand("weight"), macs=144)
    head = linear("head", 1, 4, 4, macs=16)
    return workload(stem, body, head)


def spiking(acs, rate, inputs=8, outputs=8):
    return with_body(
        linear(
            "body",
            1,
            inputs,
            outputs,
            spikes(rate),
            operand("weight"),
            acs=acs,
            driven_by="input",
            timesteps=1,
        )
    )


@given(names, st.integers(1, 10**15), counts)
def test_more_accumulates_never_cost_less(name, acs, more):
    estimate = convention(name).estimate
    assert estimate(spiking(acs, 0.5)).energy_j <= estimate(spiking(acs + more, 0.5)).energy_j


@given(names, rates, rates)
def test_more_spikes_never_cost_less(name, first, second):
    low, high = sorted((first, second))
    estimate = convention(name).estimate
    # Executed accumulates follow the rate here: 64 connections.
    few, many = spiking(1 + round(64 * low), low), spiking(1 + round(64 * high), high)
    assert estimate(few).energy_j <= estimate(many).energy_j


@given(names, sizes, sizes, sizes)
def test_larger_dense_layers_never_cost_less(name, inputs, outputs, more):
    def dense(width):
        return with_body(linear("body", 1, inputs, width, macs=inputs * width))

    estimate = convention(name).estimate
    assert estimate(dense(outputs)).energy_j <= estimate(dense(outputs + more)).energy_j


@given(st.sampled_from(["horowitz45", "spikingformer", "ecoformer"]), sizes, sizes)
def test_a_further_layer_never_costs_less(name, inputs, outputs):
    body = linear("body", 1, inputs, outputs, macs=inputs * outputs)
    further = linear("further", 1, outputs, inputs, macs=inputs * outputs)
    estimate = convention(name).estimate
    assert estimate(workload(body)).energy_j < estimate(workload(body, further)).energy_j


@given(st.integers(1, 31), counts, counts)
def test_wider_integers_never_cost_less(bits, macs, acs):
    network = with_body(linear("body", 1, 8, 8, macs=macs + 1, acs=acs))
    assert estimate_quantized(network, bits).energy_j < estimate_quantized(network, bits + 1).energy_j


@given(names, counts, counts, rates, st.integers(1, 8))
def test_totals_are_sums_and_bands_hold_them(name, macs, acs, rate, batch):
    body = linear("body", 1, 8, 8, spikes(rate), operand("weight"), macs=macs, acs=acs + 1, driven_by="input")
    estimate = convention(name).estimate(workload(*with_body(body).layers, batch=batch))
    assert estimate.energy_j == pytest.approx(sum(layer.energy_j for layer in estimate.layers), rel=1e-12)
    low, high = estimate.energy_band_j
    assert low <= estimate.energy_j <= high
    assert math.isfinite(high)


@given(counts, counts)
def test_horowitz45_counts_what_the_workload_counts(macs, acs):
    network = with_body(linear("body", 1, 8, 8, macs=macs + 1, acs=acs))
    estimate = convention("horowitz45").estimate(network)
    assert (estimate.macs, estimate.acs) == (network.macs, network.acs)
