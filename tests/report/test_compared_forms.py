"""Which forms of a run chips are asked about."""

from __future__ import annotations

from neuro.report.compared_forms import compared_forms

from .synthetic import small_documents


def test_the_spiking_variant_meets_every_rival_that_was_measured() -> None:
    workloads = dict(small_documents().workloads)  # T = 2: rivals of 2 bits
    forms = compared_forms({form: workloads[form] for form in ("spiking-merged", "float")})
    assert list(forms) == ["Spiking, merged", "Spiking, 2 bits", "Parent, unmerged", "Unmerged, 2 bits"]
    forms = compared_forms({**workloads, "float-merged": workloads["float"]})
    assert list(forms) == ["Spiking, merged", "Spiking, 2 bits", "Parent, merged", "Parent, 2 bits", "Unmerged, 2 bits"]


def test_low_bit_weights_leave_the_spikes_as_they_are() -> None:
    forms = compared_forms(dict(small_documents().workloads))
    full, narrow = forms["Spiking, merged"], forms["Spiking, 2 bits"]
    assert (narrow.input_bits == full.input_bits).all()
    assert (narrow.acs == full.acs).all()
    assert set(narrow.weight_bits[narrow.synaptic].tolist()) == {2}


def test_a_rival_has_narrow_weights_and_activations() -> None:
    rival = compared_forms(dict(small_documents().workloads))["Unmerged, 2 bits"]
    assert set(rival.weight_bits.tolist()) | set(rival.input_bits.tolist()) == {2}
