"""The conversion as Python calls it: what comes back, and what it is worth."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_request import TINY
from torch import nn

import neuro
from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.conversion.networks import build_spiking, calibrate_batchnorm, load_data, merge_error
from neuro.conversion.pipeline import Conversion
from neuro.conversion.spec import merge_settings, resolve_spec
from neuro.models import merge_model
from neuro.records import ConversionRecord

DOCUMENTS = {
    *("spec.yaml", "environment.json", "conversion.json", "estimate.json", "chips.json", "report.html"),
    *("weights.safetensors", "weights-float.safetensors"),
    *("workload.json", "workload.npz", "workload-float.json", "workload-float.npz"),
    *("workload-as-trained.json", "workload-as-trained.npz"),
    *("workload-float-merged.json", "workload-float-merged.npz"),
}


def untrained(**given: Any) -> Conversion:
    return neuro.convert(settings=merge_settings(TINY, {"training": {"epochs": 0}}), **given)


def test_the_directory_holds_every_document_whole(conversion: Conversion) -> None:
    path = conversion.directory
    assert path is not None
    assert {file.name for file in path.iterdir() if file.is_file()} == DOCUMENTS
    record = json.loads((path / "conversion.json").read_text())
    assert ConversionRecord.model_validate(record) == conversion.record
    assert Workload.load(path / "workload.json").macs == conversion.workloads["spiking-merged"].macs
    for file in DOCUMENTS:
        if file.endswith(".json"):
            assert "schema" in json.loads((path / file).read_text()), file


def test_the_saved_weights_are_the_trained_ones(conversion: Conversion) -> None:
    assert conversion.directory is not None
    saved = load_file(conversion.directory / "weights.safetensors")
    assert all(torch.equal(saved[k], v) for k, v in conversion.spiking.state_dict().items())


def test_names_stand_in_the_record(conversion: Conversion) -> None:
    record = conversion.record
    assert (record.variant, record.attention, record.neuron) == ("tiny", "sdsa3", "lif")
    assert set(record.training) == {"float", "spiking"}
    assert record.test_samples == 20
    assert record.profiled_samples == 4


def test_accuracies_are_measured_where_something_was_trained(conversion: Conversion) -> None:
    found = {row.key: row.accuracy for row in conversion.record.rows}
    assert all(found[key] is not None for key in ("float", "spiking", "spiking-merged"))
    assert found["quantized"] is None


def test_nothing_is_written_without_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert untrained().directory is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("neuron", ["if", "lif", "plif", "ilif"])
def test_untrained_networks_fire_and_merge_exactly(neuron: str) -> None:
    conversion = untrained(neuron=neuron)
    assert conversion.workloads["spiking"].firing_rate > 0.05
    assert 0 < conversion.record.merge_error < 1e-5
    assert "random weights" in conversion.record.notes[0]
    assert all(row.accuracy is None for row in conversion.record.rows)


@pytest.mark.parametrize("attention", ["sdsa1", "sdsa3", "sdsa4"])
def test_each_attention(attention: str) -> None:
    conversion = untrained(attention=attention, timesteps=1)
    assert conversion.record.attention == attention
    assert 0 < conversion.record.merge_error < 1e-5


@pytest.mark.parametrize("surrogate", ["sigmoid", "atan", "triangle", "rectangle", "piecewise_quadratic"])
def test_each_surrogate_trains(surrogate: str) -> None:
    settings = merge_settings(TINY, {"data": {"train_limit": 20}})
    assert neuro.convert(surrogate=surrogate, settings=settings).record.surrogate == surrogate


def test_measuring_leaves_given_weights_as_they_were(conversion: Conversion) -> None:
    assert conversion.directory is not None
    weights = conversion.directory / "weights.safetensors"
    settings = {key: TINY[key] for key in ("model", "data", "profile_samples")}
    again = neuro.convert(weights=str(weights), settings=settings)
    saved = load_file(weights)
    assert all(torch.equal(saved[k], v) for k, v in again.spiking.state_dict().items())
    rates = [c.workloads["spiking-merged"].firing_rate for c in (conversion, again)]
    assert rates[0] == rates[1]
    rows = {row.key: row.accuracy for row in again.record.rows}
    assert rows["spiking"] == {row.key: row.accuracy for row in conversion.record.rows}["spiking"]
    assert rows["float"] is None


def test_the_merge_error_finds_one_wrong_convolution() -> None:
    spec = resolve_spec(TINY)
    data = load_data(spec)
    network = build_spiking(spec, data).eval()
    images, _ = next(iter(data.test.batches(4, 2)))
    calibrate_batchnorm(network, images)
    merged = merge_model("spikeformer_v2", network)
    before = copy.deepcopy(network.state_dict())
    assert 0 < merge_error(network.train(), merged, images) < 1e-5
    assert network.training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())

    wrong = [m for m in merged.modules() if isinstance(m, nn.Conv2d)][3]
    with torch.no_grad():
        wrong.weight *= 1.01
    assert merge_error(network, merged, images) > 1e-4


def test_calibrated_statistics_are_those_of_the_images() -> None:
    spec = resolve_spec(TINY)
    data = load_data(spec)
    network = build_spiking(spec, data)
    images, _ = next(iter(data.test.batches(8, 2)))
    calibrate_batchnorm(network, images)
    stem = network.stem.conv
    seen = stem.conv(images.flatten(0, 1))
    assert torch.allclose(stem.bn.running_mean, seen.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(stem.bn.running_var, seen.var((0, 2, 3)), rtol=1e-4)
    assert stem.bn.momentum == 0.1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_classes": 5}, r"num_classes was 5 but digits has 10 classes; leave it out"),
        ({"in_channels": 3}, r"in_channels was 3 but digits has 1; leave it out"),
        ({"image_size": 64}, r"image_size was 64 but digits has 16; leave it out"),
        ({"width": 3}, r"unknown architecture setting 'width'; did you mean 'widths'"),
    ],
)
def test_overrides_that_do_not_fit_the_data(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        neuro.convert(settings=merge_settings(TINY, {"model": {"overrides": overrides}}))


def test_a_head_may_have_more_outputs_than_the_data_have_classes() -> None:
    settings = merge_settings(TINY, {"model": {"overrides": {"num_classes": 30}}, "training": {"epochs": 0}})
    assert neuro.convert(settings=settings).spiking.head.out_features == 30


@pytest.mark.parametrize("device", ["gpu", "meta", "mps", "xpu", "cpu:x"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(InputError, match=f"device '{device}' is unknown; give cpu, cuda or cuda:N"):
        neuro.convert(device=device)


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"device 'cuda:64' was asked for but torch finds \d+ GPUs here"):
        neuro.convert(device="cuda:64")


def test_training_and_profiling_alone() -> None:
    data = neuro.load_dataset("digits", image_size=8, train_limit=40, test_limit=20)
    model = nn.Sequential(nn.Flatten(2), nn.Linear(64, 10))
    averaged = nn.Module()
    averaged.net, averaged.timesteps = model, 2
    averaged.forward = lambda images: model(images).mean(0)  # type: ignore[method-assign]
    history = neuro.train(averaged, data, neuro.TrainingSettings(epochs=3, batch_size=20), progress=None)
    assert history[-1].loss < history[0].loss
    images, _ = next(iter(data.test.batches(4, 1)))
    workload = neuro.profile(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), images[0])
    assert workload.macs == 640
