"""`neuro eval`: how good the trained network of a run directory or of the hub is, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from hardware_models.errors import InputError
from neuro.conversion.device import find_device
from neuro.conversion.networks import build_float_parent, load_data
from neuro.conversion.spec import read_settings
from neuro.data import Dataset
from neuro.evaluation import EvaluationRecord
from neuro.evaluation.measure import check_corruptions, measure
from neuro.evaluation.request import EvaluationRequest
from neuro.experiments.networks import load_trained, quantized_network
from neuro.experiments.run import TrainedRecord
from neuro.experiments.spec import TrainSpec, resolve_train_spec
from neuro.hub import CARD, PREFIX, SPEC, WEIGHTS, network_folder, read_card
from quant.recipes import load_recipe

Say = Callable[[str], None]

TOLERANCE: Final = 0.05
"""Percentage points up to which an accuracy is the one that was stated; it may have been rounded."""

_PARENT: Final = "layers.network."
"""Where a low-bit network holds the tensors of its parent."""


def evaluate(
    name: str,
    request: EvaluationRequest | None = None,
    *,
    data: str | None = None,
    samples: int | None = None,
    device: str = "cpu",
    say: Say = lambda text: None,
    progress: bool = False,
) -> EvaluationRecord:
    """Evaluate a trained network on held-out samples.

    Args:
        name: a run directory of `neuro train`, or `hub:NAME`.
        request: what to measure; None for the accuracy and the cost by T.
        data: another data set than the one it was trained on.
        samples: most samples, the classes as even as possible; None takes those of the training.
        device: a torch device.
        say: told what is evaluated, one line at a time.
        progress: show a bar on stderr, if that is a terminal.

    Returns:
        The record; its last note compares it with what the card or `training.json` beside the weights states of the
        same samples, where it does.

    Raises:
        InputError: anything in the request that does not fit the network or the data, before anything is computed.
        RunError: a fault while running.
    """
    request, where = request or EvaluationRequest(), find_device(device)
    folder = network_folder(name)
    spec = resolve_train_spec(read_settings(folder / SPEC), str(folder / SPEC))
    timesteps = trained_timesteps(spec)
    _check_single(name, spec, timesteps, request)
    dataset = _load(spec, data, samples)
    check_fit(folder / WEIGHTS, spec, dataset)
    check_corruptions(dataset.test, 1 if spec.form != "spiking" else timesteps, request)
    before = _stated(folder)
    model = load_trained(str(folder), dataset).model.to(where)
    _describe(spec, dataset, model, say)
    quantized = quantized_network(model)
    found = measure(model, dataset.test, timesteps, request, where, dataset.classes, quantized, progress)
    record = EvaluationRecord(
        model=f"{spec.model.name} {spec.model.variant}, {spec.form}",
        dataset=dataset.name,
        dataset_source=f"{dataset.source} {dataset.preprocessing}".strip(),
        samples=len(dataset.test),
        seed=request.seed,
        convention=request.convention if found.profiled_samples else "",
        trained_timesteps=timesteps,
        **found._asdict(),
    )
    record.notes += _remarks(spec, record, before)
    return record


def evaluation_file(name: str, out: Path | None, data: str | None = None) -> Path | None:
    """Return where the record goes: `out`, else into the run directory; None for a network that was packed to share.

    On other `data` than the training's the record is `evaluation-DATA.json`.

    Raises:
        InputError: `out` is a folder, or lies in none.
    """
    if out is None:
        folder = network_folder(name)
        ending = f"-{data.partition(':')[0]}" if data else ""
        return None if name.startswith(PREFIX) or (folder / CARD).is_file() else folder / f"evaluation{ending}.json"
    if out.is_dir() or not out.absolute().parent.is_dir():
        what = "is a folder" if out.is_dir() else "lies in no folder"
        raise InputError(f"--out {out} {what}; give a file to write in a folder that exists.")
    return out


def trained_timesteps(spec: TrainSpec) -> int:
    """Return T of a trained network: 1 of one that does not fire."""
    fires = spec.form == "spiking" or (spec.is_low_bit and load_recipe(spec.form).fires)
    return spec.model.timesteps if fires else 1


def _check_single(name: str, spec: TrainSpec, timesteps: int, request: EvaluationRequest) -> None:
    """Refuse measures over time of a network that answers once."""
    answers_once = spec.form != "spiking" or timesteps == 1
    if spec.form != "spiking" and request.timesteps not in ((), (timesteps,)):
        given = ",".join(map(str, request.timesteps))
        raise InputError(
            f"--timesteps was {given}, but {name} is of form {spec.form!r}, reads single images and answers once; "
            f"leave it out, or give {timesteps}."
        )
    if answers_once and request.early_exit:
        raise InputError(f"{name} answers once, so no sample can exit early; leave --early-exit out.")


def _load(spec: TrainSpec, data: str | None, samples: int | None) -> Dataset:
    """Load what to evaluate on, as the training did."""
    if samples is not None and samples < 1:
        raise InputError(f"--samples was {samples}; give at least 1.")
    changes: dict[str, object] = {}
    if samples is not None:
        changes["test_limit"] = samples
    if data is not None:
        changes["name"] = data
        if _kind(data) != _kind(spec.data.name):
            changes["augment"] = None  # of training images, which are not looked at, and not every data set takes it
    return load_data(spec.model_copy(update={"data": spec.data.model_copy(update=changes)}))


def check_fit(weights: Path, spec: TrainSpec, dataset: Dataset) -> None:
    """Refuse data whose classes or channels are not those of the trained network.

    The network is built for the data, without values: its head has an output for each class, its first layer an input
    for each channel, and the shapes of the weights tell what they were trained for.

    Raises:
        InputError: what does not fit, by name; weights that cannot be read.
    """
    if not dataset.classes:
        raise InputError(f"the images of {dataset.name} carry no labels; give labelled data with --data.")
    with torch.device("meta"):
        wanted = build_float_parent(spec, dataset).state_dict()
    shapes = _shapes(weights)
    for name, tensor in wanted.items():
        shape = shapes.get(f"{_PARENT if spec.is_low_bit else ''}{name}", tuple(tensor.shape))
        if len(shape) != tensor.dim() or shape == tensor.shape:
            continue  # another network is refused where its weights are loaded
        if shape[1:] == tensor.shape[1:]:
            raise InputError(
                f"{dataset.name} has {tensor.shape[0]} classes, but the network tells {shape[0]} apart; give data of "
                f"the kind that it was trained on, {spec.data.name}."
            )
        if shape[2:] == tensor.shape[2:] and shape[0] == tensor.shape[0]:
            raise InputError(
                f"{dataset.name} has images of {_channels(tensor.shape[1])}, but the network takes {shape[1]}; give "
                f"data of the kind that it was trained on, {spec.data.name}."
            )


def _channels(count: int) -> str:
    return f"{count} channel{'' if count == 1 else 's'}"


def _shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(weights, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{weights} is damaged or truncated ({error}); get the safetensors file again.") from error


def _describe(spec: TrainSpec, dataset: Dataset, model: torch.nn.Module, say: Say) -> None:
    parameters = sum(one.numel() for one in model.parameters())
    say(f"data: {dataset.name}, {dataset.source}")
    say(f"network: {spec.model.name} {spec.model.variant}, {spec.form}, {parameters:,} parameters")
    say(f"eval: {len(dataset.test):,} samples")


def _remarks(spec: TrainSpec, record: EvaluationRecord, before: _Stated | None) -> list[str]:
    remarks = []
    if record.profiled_samples and not spec.is_low_bit:
        remarks.append("Counts and energy are of the network as trained, its branches not merged for inference.")
    if _kind(record.dataset) != _kind(spec.data.name):
        remarks.append(f"The network was trained on {spec.data.name}; class by class it answers for these data.")
    measured = [row.accuracy for row in record.rows if row.timesteps == record.trained_timesteps]
    if before is not None and measured and before.is_of(spec, record):
        remarks.append(_comparison(before, measured[0]))
    return remarks


class _Stated(NamedTuple):
    """The accuracy that a document beside the weights states, and of what.

    Attributes:
        where: which document.
        dataset: name of the data set.
        samples: held-out samples.
        timesteps: T.
        accuracy: share that is right.
    """

    where: str
    dataset: str
    samples: int
    timesteps: int
    accuracy: float

    def is_of(self, spec: TrainSpec, record: EvaluationRecord) -> bool:
        """Whether it was measured on the samples and at the T of a record."""
        mine = _kind(record.dataset), record.samples, trained_timesteps(spec)
        return mine == (_kind(self.dataset), self.samples, self.timesteps)


def _stated(folder: Path) -> _Stated | None:
    """Read the card, or else the record of the training; None where neither states an accuracy."""
    if (folder / CARD).is_file():
        card = read_card(folder)
        return _Stated("the card", card.dataset, card.samples, card.timesteps, card.accuracy)
    path = folder / "training.json"
    if not path.is_file():
        return None
    try:
        found = TrainedRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(f"{path} is no record of a training ({error.errors()[0]['msg']}); train again.") from error
    if found.accuracy is None:
        return None
    return _Stated(path.name, found.dataset, found.test_samples, found.timesteps, found.accuracy)


def _comparison(before: _Stated, measured: float) -> str:
    both = f"{before.where} says {100 * before.accuracy:.2f} %, measured {100 * measured:.2f} %"
    apart = 100 * abs(before.accuracy - measured)
    if apart <= TOLERANCE:
        return f"{both}."
    return (
        f"{both}: they differ by {apart:.2f} points on the same {before.samples} samples of {before.dataset}; the "
        "weights, the data or the machine are not those of the training."
    )


def _kind(data: str) -> str:
    """The name of a data set without its place."""
    return data.partition(":")[0]
