"""`neuro train`: one training from its document to a run directory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hardware_models.errors import InputError
from neuro.conversion.device import find_device
from neuro.conversion.directory import run_directory
from neuro.conversion.networks import load_data
from neuro.conversion.write import write_json
from neuro.data import Dataset
from neuro.experiments.networks import build, quantized_network, teacher_of
from neuro.experiments.spec import TrainSpec
from neuro.hub import WEIGHTS
from neuro.records import EpochRecord
from neuro.training import train
from neuro.training.log import Log
from neuro.training.parallel import Processes, processes_of_torchrun
from neuro.weights import save_tensors
from quant.export import export_safetensors

SCHEMA: Final = "neuro.trained/1"

Say = Callable[[str], None]


class TrainedRecord(BaseModel):
    """Content of `training.json`: what a training came to.

    Attributes:
        form: of the network; `model` is its architecture and variant, `timesteps` its T.
        parameters: number of parameters.
        dataset: name of the data set; `dataset_source` says where it came from and how it was prepared.
        train_samples: and `test_samples`, the sizes of both splits.
        processes: that trained together.
        history: one record an epoch; the last one's `test_accuracy` is that of the weights that are kept.
        seconds: of all epochs.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_version: Literal["neuro.trained/1"] = Field(default=SCHEMA, alias="schema")
    form: str
    model: str
    timesteps: int
    parameters: int
    dataset: str
    dataset_source: str
    train_samples: int
    test_samples: int
    processes: int
    seed: int
    history: list[EpochRecord]
    seconds: float

    @property
    def accuracy(self) -> float | None:
        """Share of the test split that is right."""
        return self.history[-1].test_accuracy if self.history else None


def run_training(spec: TrainSpec, out: Path, *, resume: bool = False, say: Say = lambda text: None) -> TrainedRecord:
    """Train what is asked for, and write the run directory.

        spec.yaml, environment.json    what was asked for, and under which circumstances
        log.jsonl                      every epoch and every tenth step; `tensorboard/` beside it where asked for
        checkpoints/                   where to go on
        weights.safetensors            the trained network, the average where there is one
        training.json                  `TrainedRecord`

    Under torchrun every process calls this; the first one writes and speaks.

    Raises:
        InputError: anything in the request that does not fit.
        RunError: a fault while running.
    """
    device = find_device(spec.device)
    with ExitStack() as stack:
        processes = stack.enter_context(processes_of_torchrun(device, spec.parallel))
        if processes.is_first:
            stack.enter_context(run_directory(out, spec, resume))
        processes.wait()
        dataset = load_data(spec)
        if dataset.train is None or not dataset.classes:
            raise InputError(f"{dataset.name} has no labelled images to train on; give other data with --data.")
        model = build(spec, dataset)
        if processes.is_first:
            describe(spec, dataset, model, processes, say)
        history = _trained(spec, dataset, model, device, out, resume, processes)
        record = _record(spec, dataset, model, history, processes)
        tensors = whole_tensors(model)
        if processes.is_first:
            _write_weights(out / WEIGHTS, spec, dataset, model, tensors)
            write_json(out / "training.json", record.model_dump(mode="json", by_alias=True))
    return record


def _write_weights(
    path: Path, spec: TrainSpec, dataset: Dataset, model: nn.Module, tensors: dict[str, torch.Tensor]
) -> None:
    """Write the trained network's tensors; with those of a quantized one goes what its quantizers are."""
    network = quantized_network(model)
    if network is None:
        save_tensors(path, tensors, {"form": spec.form, "model": f"{spec.model.name} {spec.model.variant}"})
    else:
        images, _ = next(dataset.test.batches(2, 1))
        export_safetensors(network.cpu(), path, images[0])


def describe(spec: TrainSpec, dataset: Dataset, model: nn.Module, processes: Processes, say: Say) -> None:
    """Say what is about to be trained."""
    parameters = sum(p.numel() for p in model.parameters())
    say(f"data: {dataset.name}, {dataset.source}")
    say(f"network: {spec.model.name} {spec.model.variant}, {spec.form}, {parameters:,} parameters")
    together = f" on {processes.count} processes, {spec.parallel}" if processes.count > 1 else ""
    say(f"train: {spec.training.epochs} epochs of {len(dataset.train or dataset.test):,} samples{together}")


def _trained(
    spec: TrainSpec,
    dataset: Dataset,
    model: nn.Module,
    device: torch.device,
    out: Path,
    resume: bool,
    processes: Processes,
) -> list[EpochRecord]:
    board = out / "tensorboard" if spec.tensorboard else None
    log = Log(out / "log.jsonl", board) if processes.is_first else None
    try:
        return train(
            model,
            dataset,
            spec.training,
            seed=spec.seed,
            device=device,
            checkpoint=out / "checkpoints" / "last.pt",
            resume=resume,
            progress="train",
            teacher=teacher_of(spec, dataset),
            processes=processes,
            log=log,
            subject={"form": spec.form, **spec.model.model_dump(mode="json", exclude={"weights"})},
        )
    finally:
        if log is not None:
            log.close()


def _record(
    spec: TrainSpec, dataset: Dataset, model: nn.Module, history: list[EpochRecord], processes: Processes
) -> TrainedRecord:
    network = quantized_network(model)
    return TrainedRecord(
        form=spec.form,
        model=f"{spec.model.name} {spec.model.variant}",
        timesteps=network.timesteps if network is not None else int(getattr(model, "timesteps", 1)),
        parameters=sum(p.numel() for p in model.parameters()),
        dataset=dataset.name,
        dataset_source=f"{dataset.source} {dataset.preprocessing}".strip(),
        train_samples=len(dataset.train) if dataset.train is not None else 0,
        test_samples=len(dataset.test),
        processes=processes.count,
        seed=spec.seed,
        history=history,
        seconds=sum(one.seconds for one in history),
    )


def whole_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state of a network whose tensors processes may hold parts of; all of them call this together."""
    return {
        name: tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        for name, tensor in model.state_dict().items()
    }
