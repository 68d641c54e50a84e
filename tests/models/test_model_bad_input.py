"""What a model refuses, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hardware_models.errors import InputError
from neuro.models import architecture, create_model
from neuro.models.neurons import neuron_factory
from neuro.models.spikeformer_v2 import SpikeformerV2, SpikeformerV2Config

LIF_FACTORY = neuron_factory("lif")


def _create(*args: str, **kwargs: Any) -> SpikeformerV2:
    return create_model(*(args or ("spikeformer_v2",)), make_neuron=LIF_FACTORY, **kwargs)


def test_unknown_model() -> None:
    with pytest.raises(InputError, match=r"unknown model 'spikeformer_v3'; did you mean 'spikeformer_v2'"):
        _create("spikeformer_v3")


def test_unknown_variant() -> None:
    with pytest.raises(InputError, match=r"unknown variant of spikeformer_v2 '13m'; did you mean .*'15m'"):
        _create("spikeformer_v2", "13m")
    with pytest.raises(InputError, match=r"Known: 0\.4m, 15m, 31m, 55m, 5m, 8m, tiny"):
        architecture("spikeformer_v2").variant("huge")


def test_unknown_attention() -> None:
    with pytest.raises(InputError, match=r"unknown attention 'sdsa2'; did you mean 'sdsa"):
        _create(attention="sdsa2")


def test_unknown_setting() -> None:
    with pytest.raises(InputError, match=r"unknown architecture setting 'width'; did you mean 'widths'"):
        _create(overrides={"width": [32, 48, 64, 80]})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"widths": [33, 48, 64, 80]}, "even c1"),
        ({"widths": [32, 48, 60, 80]}, "width 60 does not divide into 8 heads"),
        ({"widths": [32, 48, 64, 84]}, "width 84 does not divide into 8 heads"),
        ({"heads": 7}, "does not divide into 7 heads"),
        ({"heads": 0}, "heads was 0; give a whole number of at least 1"),
        ({"widths": [32, 48, 64]}, "widths was .*; give 4 whole numbers"),
        ({"widths": [32, 48, 64, -80]}, "widths was .*; give 4 whole numbers"),
        ({"widths": 64}, "widths was 64; give 4 whole numbers"),
        ({"widths": [32, 48, 64.5, 80]}, "widths was .*; give 4 whole numbers"),
        ({"widths": "abcd"}, "widths was 'abcd'; give 4 whole numbers"),
        ({"depths": [2]}, "depths was .*; give 2 whole numbers"),
        ({"depths": [2, -1]}, "depths was .*; give 2 whole numbers"),
        ({"strides": [2, 2, 2, 0]}, "strides was .*; give 4 whole numbers"),
        ({"separable_kernel": 4}, "separable_kernel was 4; give an odd"),
        ({"stem_kernel": 0}, "stem_kernel was 0"),
        ({"in_channels": "3"}, "in_channels was '3'"),
        ({"num_classes": True}, "num_classes was True"),
        ({"drop_path": 1.0}, "drop_path was 1.0"),
        ({"drop_path": -0.1}, "drop_path was -0.1"),
    ],
)
def test_settings_that_do_not_fit(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _create(overrides=overrides)


def test_missing_widths() -> None:
    with pytest.raises(TypeError):
        SpikeformerV2Config()  # type: ignore[call-arg]


@pytest.mark.parametrize("timesteps", [0, -1, 1.5, True, "4"])
def test_bad_timesteps(timesteps: Any) -> None:
    with pytest.raises(InputError, match="timesteps was"):
        _create(timesteps=timesteps)


@pytest.mark.parametrize("neuron", ["lif", "relu"])
def test_inputs_that_do_not_fit(neuron: str) -> None:
    model = create_model("spikeformer_v2", make_neuron=neuron_factory(neuron))
    for shape in [(2, 3, 16, 16), (1, 16, 16), (4, 2, 3, 16, 16), (16,), (1, 1, 1, 1, 16, 16)]:
        with pytest.raises(InputError, match=r"give \[B, 1, H, W\] or \[T, B, 1, H, W\]"):
            model(torch.zeros(shape))
    with pytest.raises(InputError, match="T must be at least 1"):
        model(torch.zeros(0, 2, 1, 16, 16))


def test_unknown_neuron_surrogate_and_parameter() -> None:
    with pytest.raises(InputError, match=r"unknown neuron 'lfi'; did you mean 'lif'"):
        neuron_factory("lfi")
    with pytest.raises(InputError, match=r"unknown surrogate 'atna'; did you mean 'atan'"):
        neuron_factory("lif", "atna")
    with pytest.raises(InputError, match=r"unknown parameter of neuron 'lif' 'taux'; did you mean 'tau'"):
        neuron_factory("lif", parameters={"taux": 2.0})
    with pytest.raises(InputError, match=r"unknown parameter of neuron 'if' 'tau'"):
        neuron_factory("if", parameters={"tau": 2.0})
    with pytest.raises(InputError, match=r"unknown parameter of neuron 'lif' 'step_mode'"):
        neuron_factory("lif", parameters={"step_mode": "s"})
    with pytest.raises(InputError, match=r"'relu' takes no parameters; leave out 'tau'"):
        neuron_factory("relu", parameters={"tau": 2.0})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("lif", {"tau": 0.5}), ("plif", {"tau": 1.0}), ("ilif", {"levels": 0}), ("lif", {"tau": "x"})],
)
def test_values_a_neuron_refuses_are_refused_by_the_factory(name: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"tau|levels"):
        neuron_factory(name, parameters=parameters)


def test_factory_hands_everything_on() -> None:
    neuron = neuron_factory("lif", "atan", 3.0, {"tau": 4.0, "v_reset": None, "detach_reset": False})(0.5)
    assert (neuron.tau, neuron.v_threshold, neuron.v_reset, neuron.detach_reset) == (4.0, 0.5, None, False)
    assert (neuron.surrogate.name, neuron.surrogate.alpha) == ("atan", 3.0)
    assert neuron_factory("ilif", parameters={"levels": 8})(0.5).levels == 8
