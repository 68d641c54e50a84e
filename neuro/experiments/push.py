"""`neuro push`: from the run directory of a training to a folder that others can use, `hub:PATH`.

spec.yaml             how the network is built and was trained, without the paths of this machine
weights.safetensors   as they were trained
card.json             `neuro.hub.Card`: what the network is and does
README.md             the same to read, a model card as the Hugging Face Hub takes it
"""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from hardware_models.conventions import convention
from hardware_models.errors import InputError, RunError
from hardware_models.workload import Workload
from neuro.conversion.networks import load_data
from neuro.conversion.spec import read_settings, read_trained
from neuro.data import Dataset
from neuro.evaluation import standard_error
from neuro.experiments.model_card import model_card
from neuro.experiments.networks import load_trained, quantized_network
from neuro.experiments.run import TrainedRecord
from neuro.experiments.spec import TrainSpec, resolve_train_spec
from neuro.hub import CARD, PREFIX, README, SPEC, WEIGHTS, Card, CardCost, is_folder, network_folder, sha256
from neuro.models import merge_model
from neuro.profiling import profile
from neuro.profiling.low_bit import profile_low_bit
from neuro.training import accuracy
from quant.recipes import recipe_names

CONVENTION: Final = "horowitz45"
LICENCE: Final = "Apache-2.0"
PROFILED_SAMPLES: Final = 16

Say = Callable[[str], None]


class _Shared(NamedTuple):
    """The specification without this machine's paths, and what stood there.

    Attributes:
        spec: what is written.
        weights_of: what kind of network the training started from, `teacher` what kind taught; empty for none.
        arguments: of `neuro train`, in the place of each path that was taken out.
    """

    spec: TrainSpec
    weights_of: str
    teacher: str
    arguments: list[str]


def push(
    run: Path,
    out: Path,
    *,
    licence: str = LICENCE,
    note: str = "",
    samples: int = PROFILED_SAMPLES,
    say: Say = lambda text: None,
) -> Card:
    """Measure the network of a finished training and write its folder, whole or not at all.

    Args:
        run: the run directory.
        out: a new folder, or an empty one; its name becomes the network's.
        licence: of the weights.
        note: anything else the card should say.
        samples: held-out samples to profile for spikes and energy.
        say: told what happens, one line at a time.

    Raises:
        InputError: a training that is not finished, a recipe that does not ship, or a folder that holds files.
        RunError: the folder cannot be written.
    """
    record = _record(run)
    _check_new(out)
    if not licence.strip() or samples < 1:
        raise InputError(f"licence {licence!r} and {samples} samples were given; name a licence, and 1 sample or more.")
    spec = resolve_train_spec(read_settings(run / SPEC), str(run / SPEC))
    if spec.is_low_bit and spec.form not in recipe_names():
        raise InputError(f"form {spec.form} is a recipe of your own, which the folder has no place for; push another.")
    shared = _shared(spec)
    card = _card(run, out.resolve().name, record, spec, shared, samples, licence, note, say)
    _write(out, run, shared.spec, card)
    return card


def _record(run: Path) -> TrainedRecord:
    path = run / "training.json"
    if not path.is_file():
        raise InputError(
            f"{run} holds no training.json, so no training was finished there; give a run directory of neuro train, "
            f"or finish it with neuro train --resume --out {run}."
        )
    try:
        return TrainedRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(f"{path} is no record of a training ({error.errors()[0]['msg']}); train again.") from error


def _check_new(out: Path) -> None:
    if (out.exists() and not out.is_dir()) or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out} already holds something; give a new folder, or an empty one.")
    above = next(place for place in out.absolute().parents if place.exists())
    if not above.is_dir():
        raise InputError(f"{out} cannot be made, {above} is a file; give another folder.")


def _shared(spec: TrainSpec) -> _Shared:
    name, colon, _ = spec.data.name.partition(":")
    weights, teacher = spec.model.weights, spec.teacher
    arguments = ["--data", f"{name}:PATH"] if colon else []
    if _is_path(weights):
        arguments += ["--weights", "WEIGHTS"]
    if _is_path(teacher):
        arguments += ["--teacher", "TEACHER"]
    # A low-bit form is never without a parent, so its place is kept.
    kept = weights if not _is_path(weights) else "WEIGHTS" if spec.is_low_bit else None
    update = {
        "data": spec.data.model_copy(update={"name": name}),
        "model": spec.model.model_copy(update={"weights": kept}),
        "teacher": None if _is_path(teacher) else teacher,
    }
    return _Shared(spec.model_copy(update=update), _kind(weights), _kind(teacher), arguments)


def _is_path(name: str | None) -> bool:
    """Whether it is of this machine alone, as all are but `hub:NAME` and `hub:OWNER/NAME`."""
    if name is None or not name.startswith(PREFIX):
        return name is not None
    place = name.removeprefix(PREFIX)
    is_local = "/" in place and Path(place).exists()
    return is_local or place.count("/") > 1 or place.startswith((".", "/", "~"))


def _kind(name: str | None) -> str:
    """What kind of network a name leads to; a path is not told."""
    if name is None or not _is_path(name):
        return name or ""
    if not is_folder(name):
        return "a file of weights" if Path(name).is_file() else "weights that are no longer there"
    try:
        return str(read_trained(network_folder(name)))
    except InputError:  # it has moved or changed since, which is no fault of the trained network
        return "a network that is no longer there"


def _card(
    run: Path,
    name: str,
    record: TrainedRecord,
    spec: TrainSpec,
    shared: _Shared,
    samples: int,
    licence: str,
    note: str,
    say: Say,
) -> Card:
    dataset = load_data(spec)
    if record.test_samples != len(dataset.test):
        raise InputError(
            f"{dataset.name} has {len(dataset.test)} held-out samples and {run} was judged on {record.test_samples}; "
            "give back the data that it was trained on."
        )
    trained = load_trained(str(run), dataset)
    say(f"measure: {min(samples, len(dataset.test))} samples of {dataset.name}")
    costs, profiled = _costs(spec, trained.model, dataset, samples)
    right = record.accuracy
    if right is None:
        say(f"evaluate: {len(dataset.test)} samples")
        right = accuracy(trained.model, dataset.test, record.timesteps, torch.device("cpu"))
    start = ["torchrun", "--nproc-per-node", str(record.processes), "-m"] if record.processes > 1 else []
    command = [*start, "neuro", "train", "--config", SPEC, *shared.arguments, "--out", f"runs/{name}"]
    return Card(
        name=name,
        form=spec.form,
        architecture=spec.model.name,
        variant=str(spec.model.variant),
        timesteps=record.timesteps,
        parameters=record.parameters,
        dataset=shared.spec.data.name,
        dataset_source=_without_paths(dataset.source, spec.data.name),
        preprocessing=_without_paths(dataset.preprocessing, spec.data.name),
        accuracy=right,
        standard_error=standard_error(right, len(dataset.test)),
        samples=len(dataset.test),
        cost=costs[0],
        merged_cost=costs[1] if len(costs) > 1 else None,
        convention=CONVENTION,
        profiled_samples=profiled,
        licence=licence,
        note=note,
        command=shlex.join(command),
        seed=record.seed,
        epochs=len(record.history),
        weights_of=shared.weights_of,
        teacher=shared.teacher,
        versions=_versions(run),
        weights_sha256=sha256(run / WEIGHTS),
    )


def _costs(spec: TrainSpec, model: nn.Module, dataset: Dataset, samples: int) -> tuple[list[CardCost], int]:
    """Profile the network and, unless it is a quantized one, its inference form; and say on how many samples."""
    low_bit = quantized_network(model)
    timesteps = int(getattr(model, "timesteps", 1))
    images: Tensor = next(dataset.test.batches(min(samples, len(dataset.test)), timesteps))[0]
    if low_bit is not None:
        workloads = [profile_low_bit(low_bit, images[0])]
    else:
        workloads = [profile(one, images, time_first=True) for one in (model, merge_model(spec.model.name, model))]
    return [_cost(one) for one in workloads], images.shape[1]


def _cost(workload: Workload) -> CardCost:
    estimate = convention(CONVENTION).estimate(workload)
    low, high = estimate.energy_band_j
    return CardCost(
        spikes=workload.spikes,
        firing_rate=None if math.isnan(workload.firing_rate) else workload.firing_rate,
        sops=workload.synaptic_operations,
        macs=estimate.macs,
        energy_j=estimate.energy_j,
        energy_low_j=low,
        energy_high_j=high,
    )


def _without_paths(text: str, data: str) -> str:
    """Take the place of the data out of what is said of them."""
    _, _, path = data.partition(":")
    if path:
        given = "|".join(re.escape(one) for one in (path, str(Path(path)), str(Path(path).expanduser())))
        text = re.sub(rf"\b(in|from) (?:{given})(?=[,;\s]|$)", r"\1 a folder", text)
    return re.sub(r"(?<![\w/:.])/(?=\S)[^,;]*", "a folder", text)  # a default place: an absolute path up to the comma


def _versions(run: Path) -> dict[str, str]:
    path = run / "environment.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {"python": str(found["python"]), **{str(key): str(one) for key, one in found["packages"].items()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"cannot read the versions in {path} ({error}); give a run directory of neuro train."
        ) from error


def _write(out: Path, run: Path, spec: TrainSpec, card: Card) -> None:
    place = out.resolve()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.", suffix=".part"))
        try:
            shutil.copyfile(run / WEIGHTS, made / WEIGHTS)
            (made / SPEC).write_text(spec.to_yaml(), encoding="utf-8")
            (made / CARD).write_text(card.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
            (made / README).write_text(model_card(card), encoding="utf-8")
            network_folder(str(made))  # whole, and with the weights of its card
            made.chmod(0o755)
            made.replace(place)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"could not write {out}: {reason}; free space, or give another folder.") from error
