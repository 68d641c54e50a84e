"""A training that was interrupted and resumed is the training that was not."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import TwoParameters, spiking_network, stripes

from hardware_models.errors import InputError
from neuro.data.base import Dataset
from neuro.training import TrainingSettings, train

SETTINGS = TrainingSettings(epochs=4, batch_size=16, learning_rate=5e-3, evaluate_every=2)


def interrupted_after(steps: int) -> Dataset:
    """Stripes during whose training somebody presses Ctrl-C."""
    data, left = stripes(), steps
    batches = data.train.batches  # type: ignore[union-attr]

    def stop(*args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal left
        for batch in batches(*args, **kwargs):
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            yield batch

    data.train.batches = stop  # type: ignore[union-attr,method-assign]
    return data


def fresh() -> nn.Module:
    return spiking_network(drop_path=0.3)  # which draws random numbers in every step


def timeless(history: list[Any]) -> list[dict[str, Any]]:
    return [record.model_dump(exclude={"seconds", "waited_seconds"}) for record in history]


@pytest.mark.parametrize("steps", [0, 2, 5, 7])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, steps: int, precision: str) -> None:
    settings = SETTINGS.model_copy(update={"precision": precision})
    whole = fresh()
    expected = train(whole, stripes(), settings, seed=5, progress=None)

    kept = tmp_path / "kept.pt"
    with pytest.raises(KeyboardInterrupt):
        train(fresh(), interrupted_after(steps), settings, seed=5, checkpoint=kept, progress=None)
    assert kept.exists() == (steps >= 2)
    torch.rand(7)  # other work between the two does not matter
    resumed = spiking_network(seed=9, drop_path=0.3)
    if steps < 2:
        resumed = fresh()  # nothing was kept, so the initial weights matter
    history = train(resumed, stripes(), settings, seed=5, checkpoint=kept, resume=True, progress=None)

    assert timeless(history) == timeless(expected)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_a_finished_training_is_only_read(tmp_path: Path) -> None:
    kept = tmp_path / "kept.pt"
    expected = train(fresh(), stripes(), SETTINGS, checkpoint=kept, progress=None)
    before = kept.stat().st_mtime_ns
    again = train(fresh(), interrupted_after(0), SETTINGS, checkpoint=kept, resume=True, progress=None)
    assert again == expected
    assert kept.stat().st_mtime_ns == before


def test_without_resume_a_training_starts_anew(tmp_path: Path) -> None:
    kept = tmp_path / "kept.pt"
    expected = train(fresh(), stripes(), SETTINGS, checkpoint=kept, progress=None)
    again = train(fresh(), stripes(), SETTINGS, checkpoint=kept, progress=None)
    assert timeless(again) == timeless(expected)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept.pt"
    train(TwoParameters(), stripes(), SETTINGS, checkpoint=path, progress=None)
    return path


def resume(path: Path, model: nn.Module | None = None, seed: int = 0, **changed: Any) -> None:
    settings = SETTINGS.model_copy(update=changed)
    train(model or TwoParameters(), stripes(), settings, seed=seed, checkpoint=path, resume=True, progress=None)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"epochs": 6}, "epochs"), ({"learning_rate": 1e-3, "clip_norm": None}, "clip_norm, learning_rate")],
)
def test_other_settings_are_refused_by_name(kept: Path, changed: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=rf"other settings \({named}\); resume with the same ones"):
        resume(kept, **changed)


def test_another_seed_is_refused(kept: Path) -> None:
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        resume(kept, seed=1)


def test_another_network_is_refused(kept: Path) -> None:
    with pytest.raises(InputError, match="belongs to another network or is damaged; resume with the same"):
        resume(kept, fresh())


@pytest.mark.parametrize("size", [0, 3, 100, -200])
def test_a_damaged_checkpoint_is_refused(kept: Path, size: int) -> None:
    kept.write_bytes(kept.read_bytes()[:size])
    with pytest.raises(InputError, match=r"kept\.pt cannot be read as a checkpoint; delete it to start"):
        resume(kept)


class Malicious:
    """Unpickling this would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickled_code_is_never_run(kept: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for write in (torch.save, lambda it, path: path.write_bytes(pickle.dumps(it))):
        write({"schema": "neuro.checkpoint/1", "model": Malicious(trap)}, kept)
        with pytest.raises(InputError, match="cannot be read as a checkpoint"):
            resume(kept)
        assert not trap.exists()


def test_foreign_and_incomplete_checkpoints_are_refused(kept: Path) -> None:
    torch.save({"weights": torch.ones(2)}, kept)
    with pytest.raises(InputError, match=r"no checkpoint of schema 'neuro\.checkpoint/1'"):
        resume(kept)
    torch.save({"schema": "neuro.checkpoint/1"}, kept)
    with pytest.raises(InputError, match="other settings"):
        resume(kept)
