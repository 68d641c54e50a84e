"""The evaluation of trained networks, against runs of their own, hand-worked figures and what must hold of any."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardware_models.conventions import convention
from hardware_models.errors import InputError
from neuro.conversion.networks import load_data
from neuro.data import Dataset
from neuro.data.batching import Normalise, TensorSplit
from neuro.evaluation import Cost, EvaluationRecord, ExitPoint, TimeFirst, with_energy
from neuro.evaluation.measure import measure
from neuro.evaluation.request import EvaluationRequest
from neuro.evaluation.watched import WatchedSplit
from neuro.experiments.evaluate import check_fit, evaluate, evaluation_file, trained_timesteps
from neuro.experiments.networks import load_trained, quantized_network
from neuro.experiments.push import push
from neuro.experiments.run import run_training
from neuro.experiments.spec import TrainSpec, resolve_train_spec
from neuro.profiling import profile
from neuro.profiling.low_bit import profile_low_bit
from quant import quantize
from quant.observe import initialise

CPU = torch.device("cpu")
RULES = convention("horowitz45")
TIMESTEPS, SAMPLES = 3, 40


def tiny(**changed: Any) -> TrainSpec:
    model = {"timesteps": TIMESTEPS, "overrides": {"widths": [8, 8, 8, 8]}, "weights": changed.pop("weights", None)}
    given = {
        "model": model,
        "data": {"name": "digits", "train_limit": 60, "test_limit": SAMPLES},
        "training": {"epochs": 1, "batch_size": 20},
    }
    return resolve_train_spec(given | changed)


@pytest.fixture(scope="module")
def spiking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run directory; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "spiking"
    run_training(tiny(), out)
    return str(out)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("runs") / "float"
    run_training(tiny(form="float"), out)
    return str(out)


def unread(folder: Path, spec: TrainSpec) -> str:
    """A folder of a network whose weights nobody should come to read."""
    folder.mkdir()
    (folder / "spec.yaml").write_text(spec.to_yaml())
    (folder / "weights.safetensors").write_bytes(b"")
    return str(folder)


@pytest.fixture
def changed_run(tmp_path: Path, spiking: str) -> Path:
    """A copy to change: weights and specification are links, the record of the training is a file of its own."""
    for name in ("spec.yaml", "weights.safetensors"):
        (tmp_path / name).symlink_to(Path(spiking) / name)
    (tmp_path / "training.json").write_bytes((Path(spiking) / "training.json").read_bytes())
    return tmp_path


def images_of(name: str) -> tuple[Tensor, Tensor]:
    """All images `[N, C, H, W]` and labels that a run was judged on."""
    images, labels = next(load_data(load_trained(name).spec).test.batches(SAMPLES, 1))
    return images[0], labels


def share_right(name: str, timesteps: int) -> float:
    images, labels = images_of(name)
    with torch.no_grad():
        logits = load_trained(name).model(images.expand(timesteps, -1, -1, -1, -1))
    return float((logits.argmax(-1) == labels).double().mean())


def test_every_row_is_that_of_a_run_of_its_own(spiking: str) -> None:
    found = evaluate(spiking, EvaluationRequest(timesteps=(1, 2, 3, 5), profile_samples=4))
    assert [row.timesteps for row in found.rows] == [1, 2, 3, 5]
    assert (found.trained_timesteps, found.samples, found.profiled_samples) == (TIMESTEPS, SAMPLES, 4)
    assert [row.timesteps for row in found.rows if found.is_beyond_training(row)] == [5]
    model, (images, _) = load_trained(spiking).model, images_of(spiking)
    for row in found.rows:
        assert row.accuracy == pytest.approx(share_right(spiking, row.timesteps))
        assert row.standard_error == pytest.approx(math.sqrt(row.accuracy * (1 - row.accuracy) / SAMPLES))
        alone = profile(model, images[:4].expand(row.timesteps, -1, -1, -1, -1))
        assert row.spikes == pytest.approx(alone.spikes)
        assert row.firing_rate == pytest.approx(alone.firing_rate)
        # In a product of spikes with spikes a shorter run may choose the other operand to drive it.
        assert row.sops == pytest.approx(alone.synaptic_operations, rel=1e-3)
        assert row.energy_j == pytest.approx(RULES.estimate(alone).energy_j, rel=1e-3)
    assert "T = 5: beyond the training, which was at T = 3." in found.notes


def test_without_a_request_all_timesteps_of_the_training(spiking: str) -> None:
    found = evaluate(spiking)
    assert [row.timesteps for row in found.rows] == [1, 2, 3]
    assert found.profiled_samples == 16
    assert (found.early_exit, found.corruptions, found.confusion) == ([], None, None)
    assert EvaluationRecord.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_all_measures_are_of_the_same_samples(spiking: str) -> None:
    request = EvaluationRequest((1, 3), (0.01, 1.0), ("contrast", "jpeg"), (2,), True, profile_samples=2, seed=5)
    found = evaluate(spiking, request, samples=30)
    first, last = found.rows
    never = found.early_exit[1]
    assert never.exits[:2] == (0, 0)
    assert (never.accuracy, never.energy_j) == (last.accuracy, pytest.approx(last.energy_j))
    at_once = found.early_exit[0]
    assert (at_once.accuracy, at_once.energy_j) == (first.accuracy, pytest.approx(first.energy_j))
    assert found.confusion is not None
    assert found.confusion.accuracy == pytest.approx(last.accuracy)
    assert found.confusion.classes == tuple("0123456789")
    assert found.corruptions is not None
    assert found.corruptions.clean == last.accuracy
    assert {name: len(row) for name, row in found.corruptions.accuracies.items()} == {"contrast": 1, "jpeg": 1}
    assert (found.samples, found.seed) == (30, 5)


def test_energy_of_early_exit_by_hand() -> None:
    costs = {1: Cost(0, 0.0, 0, 2.0, 1.0, 4.0), 2: Cost(0, 0.0, 0, 6.0, 5.0, 12.0)}
    point = with_energy(ExitPoint(0.9, 0.5, 1.25, (3, 1)), costs)
    assert (point.energy_j, point.energy_low_j, point.energy_high_j) == (3.0, 2.0, 6.0)
    with pytest.raises(InputError, match=r"t = \[2\]"):
        with_energy(ExitPoint(0.9, 0.5, 1.25, (3, 1)), {1: costs[1]})


def test_nothing_is_profiled_where_no_sample_is_to_be(spiking: str) -> None:
    found = evaluate(spiking, EvaluationRequest((3, 4), (0.5,), profile_samples=0))
    assert [(row.spikes, row.energy_j) for row in found.rows] == [(None, None)] * 2
    assert (found.profiled_samples, found.convention, found.early_exit[0].energy_j) == (0, "", None)


def test_a_float_network_has_one_row(dense: str) -> None:
    found = evaluate(dense, EvaluationRequest(profile_samples=2, confusion=True))
    (row,) = found.rows
    assert (row.timesteps, row.accuracy) == (1, pytest.approx(share_right(dense, 1)))
    alone = profile(load_trained(dense).model, images_of(dense)[0][:2].unsqueeze(0))
    assert row.energy_j == pytest.approx(RULES.estimate(alone).energy_j)
    assert (row.spikes, row.firing_rate) == (0, None)


@pytest.mark.parametrize(("form", "timesteps"), [("w4a4", 1), ("spike-w1", TIMESTEPS)])
def test_a_low_bit_network_has_one_row(form: str, timesteps: int) -> None:
    torch.manual_seed(0)
    parent = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    images, labels = torch.rand(20, 1, 8, 8), torch.randint(3, (20,))
    network = quantize(parent.eval(), form, images, timesteps=TIMESTEPS)
    initialise(network, [(images,)])
    split = TensorSplit(images, labels, Normalise((0.0,), (1.0,)))
    model = TimeFirst(network.eval())
    found = measure(model, split, timesteps, EvaluationRequest(profile_samples=2), CPU, quantized=network)
    (row,) = found.rows
    with torch.no_grad():
        right = float((network(images).argmax(-1) == labels).double().mean())
    assert (row.timesteps, row.accuracy) == (timesteps, pytest.approx(right))
    alone = profile_low_bit(network, images[:2])
    assert row.energy_j == pytest.approx(RULES.estimate(alone).energy_j)
    assert row.spikes == pytest.approx(alone.spikes)
    assert any("inside" in note for note in found.notes) == (timesteps > 1)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "timesteps"), [("w4a4", 1), ("spike-w1", TIMESTEPS)])
def test_low_bit_runs(dense: str, tmp_path: Path, form: str, timesteps: int) -> None:
    run = str(tmp_path / form)
    run_training(tiny(form=form, weights=dense), Path(run))
    found = evaluate(run, EvaluationRequest(profile_samples=2))
    (row,) = found.rows
    assert (row.timesteps, row.accuracy) == (timesteps, pytest.approx(share_right(run, 1)))
    network = quantized_network(load_trained(run).model)
    assert network is not None
    alone = profile_low_bit(network, images_of(run)[0][:2])
    assert row.energy_j == pytest.approx(RULES.estimate(alone).energy_j)
    assert found.notes[-1] == f"training.json says {100 * row.accuracy:.2f} %, measured {100 * row.accuracy:.2f} %."
    spec = tiny(form=form, weights=dense)
    with pytest.raises(InputError, match="digits has 11 classes, but the network tells 10 apart"):
        check_fit(Path(run) / "weights.safetensors", spec, replace(load_data(spec), classes=tuple(map(str, range(11)))))


def test_networks_that_answer_once_have_no_course_in_time(dense: str, tmp_path: Path) -> None:
    runs = {form: unread(tmp_path / form, tiny(form=form, weights=dense)) for form in ("float", "w4a4", "spike-w1")}
    with pytest.raises(InputError, match=r"--timesteps was 1,2, but .* of form 'float', .* or give 1\."):
        evaluate(runs["float"], EvaluationRequest(timesteps=(1, 2)))
    with pytest.raises(InputError, match=r"form 'spike-w1', reads single images and answers once; .* or give 3\."):
        evaluate(runs["spike-w1"], EvaluationRequest(timesteps=(1,)))
    for name in runs.values():
        with pytest.raises(InputError, match="no sample can exit early; leave --early-exit out"):
            evaluate(name, EvaluationRequest(early_exit=(0.5,)))


@pytest.mark.parametrize(
    ("by", "said"), [(0.0, "%."), (0.0004, "%."), (-0.0123, "%: they differ by 1.23 points on the same 40 samples")]
)
def test_it_is_compared_with_what_the_training_said(changed_run: Path, by: float, said: str) -> None:
    path = changed_run / "training.json"
    record = json.loads(path.read_text())
    stated = record["history"][-1]["test_accuracy"] = record["history"][-1]["test_accuracy"] + by
    path.write_text(json.dumps(record))
    found = evaluate(str(changed_run), EvaluationRequest(profile_samples=0))
    measured = 100 * found.rows[-1].accuracy
    assert found.notes[-1].startswith(f"training.json says {100 * stated:.2f} %, measured {measured:.2f} {said}")


def test_a_card_is_compared_before_the_record_of_the_training(spiking: str, tmp_path: Path) -> None:
    push(Path(spiking), tmp_path / "net", samples=1)
    found = evaluate(f"hub:{tmp_path / 'net'}", EvaluationRequest(profile_samples=0))
    share = 100 * found.rows[-1].accuracy
    assert found.notes[-1] == f"the card says {share:.2f} %, measured {share:.2f} %."


def test_other_samples_timesteps_or_no_record_are_not_compared(changed_run: Path) -> None:
    def is_compared(samples: int | None = None, timesteps: tuple[int, ...] = ()) -> bool:
        request = EvaluationRequest(timesteps, profile_samples=0)
        return any("says" in note for note in evaluate(str(changed_run), request, samples=samples).notes)

    assert is_compared(samples=SAMPLES)
    assert not is_compared(samples=SAMPLES - 1)
    assert not is_compared(timesteps=(1, 2))
    path = changed_run / "training.json"
    document = path.read_text()
    path.write_text(document.replace('"digits"', '"mnist:here"'))
    assert not is_compared()
    path.write_text("{}")
    with pytest.raises(InputError, match="is no record of a training"):
        is_compared()
    path.unlink()
    assert not is_compared()


def test_data_that_do_not_fit_are_refused_by_name(spiking: str) -> None:
    spec = load_trained(spiking).spec
    digits, weights = load_data(spec), Path(spiking) / "weights.safetensors"
    check_fit(weights, spec, digits)
    with pytest.raises(InputError, match=r"digits has 11 classes, but the network tells 10 apart"):
        check_fit(weights, spec, replace(digits, classes=(*digits.classes, "ten")))
    with pytest.raises(InputError, match=r"digits has images of 2 channels, but the network takes 1"):
        check_fit(weights, spec, replace(digits, in_channels=2))
    with pytest.raises(InputError, match="digits carry no labels"):
        check_fit(weights, spec, replace(digits, classes=()))


def test_nothing_is_computed_before_a_refusal(spiking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any, **given: Any) -> None:
        raise AssertionError("something was computed")

    monkeypatch.setattr("neuro.experiments.evaluate.load_trained", forbidden)
    monkeypatch.setattr("neuro.experiments.evaluate.measure", forbidden)

    def without_grey(spec: TrainSpec) -> Dataset:
        two_channels = TensorSplit(torch.zeros(4, 2, 16, 16), torch.zeros(4).long(), Normalise((0.0,), (1.0,)))
        return replace(load_data(spec), test=two_channels)

    with monkeypatch.context() as patch:
        patch.setattr("neuro.experiments.evaluate.load_data", without_grey)
        with pytest.raises(InputError, match="2 channels cannot be JPEG"):
            evaluate(spiking, EvaluationRequest(corruptions=("jpeg",)))
    with pytest.raises(InputError, match="carry no labels"):
        evaluate(spiking, data="photos")
    with pytest.raises(InputError, match="--samples was 0"):
        evaluate(spiking, samples=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"timesteps": (2, 1)}, "rising"),
        ({"early_exit": (0.0,)}, "above 0 and at most 1"),
        ({"corruptions": ("jpg",)}, "did you mean 'jpeg'"),
        ({"corruptions": ("jpeg", "jpeg")}, "corruption jpeg was given twice"),
        ({"corruptions": ("jpeg",), "severities": (0,)}, "from 1 to 5"),
        ({"severities": ()}, "no severity"),
        ({"severities": (1, 1)}, "severity 1 was given twice"),
        ({"profile_samples": -1}, "samples to profile were -1"),
        ({"convention": "nobody"}, "unknown convention"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        EvaluationRequest(**given)


def test_damaged_weights_are_refused(changed_run: Path) -> None:
    weights = changed_run / "weights.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:100])
    with pytest.raises(InputError, match="damaged or truncated"):
        evaluate(str(changed_run))


def test_where_the_record_goes(spiking: str, tmp_path: Path) -> None:
    assert evaluation_file(spiking, None) == Path(spiking) / "evaluation.json"
    assert evaluation_file(spiking, tmp_path / "one.json") == tmp_path / "one.json"
    push(Path(spiking), tmp_path / "net", samples=1)
    assert evaluation_file(f"hub:{tmp_path / 'net'}", None) is None
    assert evaluation_file(str(tmp_path / "net"), None) is None
    for out in (tmp_path, tmp_path / "no" / "one.json"):
        with pytest.raises(InputError, match="give a file to write in a folder that exists"):
            evaluation_file(spiking, out)


@pytest.mark.parametrize(("form", "timesteps"), [("spiking", 3), ("float", 1), ("w4a4", 1), ("spike-w1", 3)])
def test_timesteps_of_each_form(form: str, timesteps: int) -> None:
    assert trained_timesteps(tiny(form=form, weights="hub:any")) == timesteps


class Once(nn.Module):
    """Answers 1 for pixels above a half; keeps how many timesteps it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
            self.head.bias.copy_(torch.tensor([0.5, -0.5]))
        self.shown: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(len(images))
        return self.head(images.flatten(2)).mean(0)


class Brightness(Once):
    """The same, with its answers of every timestep."""

    def forward_steps(self, images: Tensor) -> Tensor:
        self.shown.append(len(images))
        return self.head(images.flatten(2))


class Frames:
    """Two recordings of one pixel and four quarters, cut into T frames of equal duration."""

    normalise = Normalise((0.0,), (1.0,))
    quarters = torch.tensor([[1.0, 1.0, 0.0, 0.8], [0.0, 0.0, 1.0, 0.9]])

    def __len__(self) -> int:
        return 2

    def batches(self, batch_size: int, timesteps: int, *args: Any, **given: Any) -> Iterator[tuple[Tensor, Tensor]]:
        frames = self.quarters.unflatten(1, (timesteps, -1)).mean(2).t()
        yield frames[:, :batch_size, None, None, None], torch.tensor([1, 1])[:batch_size]


def test_data_that_are_cut_into_frames_run_once_for_every_timestep() -> None:
    model = Brightness()
    found = measure(model, Frames(), 2, EvaluationRequest((1, 2, 4), (0.6,), profile_samples=2), CPU)
    # The mean over frames of equal duration is that of the recording, 0.7 and 0.475, however many there are.
    assert [row.accuracy for row in found.rows] == [0.5, 0.5, 0.5]
    assert sorted(model.shown) == [1, 1, 2, 2, 4, 4]  # profiled and evaluated
    # After the first of two frames the pixels are 1 and 0: confidences of 1 / (1 + exp(-1)) = 0.73.
    assert (found.early_exit[0].exits, found.early_exit[0].accuracy) == ((2, 0), 0.5)
    assert any("cut into T frames" in note for note in found.notes)
    (row,) = measure(model, Frames(), 2, EvaluationRequest(), CPU).rows
    assert row.timesteps == 2


def test_a_network_that_only_gives_its_mean_runs_once_for_every_timestep() -> None:
    model = Once()
    split = TensorSplit(torch.tensor([0.2, 0.9]).view(2, 1, 1, 1), torch.tensor([0, 1]), Normalise((0.0,), (1.0,)))
    found = measure(model, split, 2, EvaluationRequest((1, 2), profile_samples=0), CPU)
    assert [row.accuracy for row in found.rows] == [1.0, 1.0]
    assert sorted(model.shown) == [1, 2]


def test_a_single_image_network_with_more_answers_than_classes() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    split = TensorSplit(torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 0, 1, 1]), Normalise((0.0,), (1.0,)))
    request = EvaluationRequest(confusion=True, profile_samples=99)
    found = measure(TimeFirst(network), split, 1, request, CPU, ("cat", "dog"))
    assert found.confusion is not None
    assert found.confusion.classes == ("cat", "dog", "2")
    assert found.profiled_samples == 5
    assert found.rows[0].energy_j == pytest.approx(4 * 3 * 4.6e-12)  # Horowitz, ISSCC 2014: 3.7 + 0.9 pJ


def test_the_bar_ends_where_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    class Bar:
        def __init__(self, total: int, **given: Any) -> None:
            self.total, self.n = total, 0
            bars.append(self)

        def update(self, count: int) -> None:
            self.n += count

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *args: object) -> None:
            pass

    monkeypatch.setattr("neuro.evaluation.measure.tqdm", Bar)
    split = TensorSplit(torch.rand(6, 1, 1, 1), torch.tensor([0, 1] * 3), Normalise((0.0,), (1.0,)))
    request = EvaluationRequest((1, 2, 4), (0.9,), ("contrast", "brightness"), (1, 5), True, profile_samples=2)
    measure(Brightness(), split, 2, request, CPU)
    (bar,) = bars
    assert bar.n == bar.total == 6 * (1 + 1 + 1 + 2 * 2)  # T = 2, T = 4, clean, corrupted


def test_a_watched_split_is_the_split() -> None:
    split = TensorSplit(torch.rand(5, 1, 1, 1), torch.arange(5), Normalise((0.0,), (1.0,)))
    heard: list[int] = []
    labels = [labels.tolist() for _, labels in WatchedSplit(split, heard.append).batches(2, 3, start=1)]
    assert labels == [[2, 3], [4]]
    assert heard == [2, 1]
