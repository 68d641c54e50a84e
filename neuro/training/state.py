"""Where a training stands, and its checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from hardware_models.errors import InputError
from neuro.records import EpochRecord
from neuro.training.checkpoint import load_checkpoint, save_checkpoint
from neuro.training.parallel import Processes
from neuro.training.sharded_checkpoint import like, load_sharded, save_sharded


@dataclass
class Sums:
    """What an epoch has summed up so far, over all processes.

    Attributes:
        loss: over samples, as are `right` answers and `spikes` per neuron and timestep.
        seen: samples.
        seconds: in steps; `waited` for batches.
    """

    loss: float = 0.0
    right: float = 0.0
    spikes: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, loss: float, right: float, spikes: float, count: int) -> None:
        """Count the means of a step on `count` samples."""
        self.loss += loss * count
        self.right += right * count
        self.spikes += spikes * count
        self.seen += count


@dataclass
class Position:
    """How far the epoch under way is: steps done, and their sums."""

    step: int = 0
    sums: Sums = field(default_factory=Sums)


@dataclass
class TrainingState:
    """Checkpoints of one training: a file, or a folder where processes hold parts of the network.

    Attributes:
        path: where; None keeps nothing.
        identity: what must be equal for a resumed training to be the same training.
        processes: that train.
    """

    path: Path | None
    identity: dict[str, Any]
    processes: Processes

    @property
    def is_sharded(self) -> bool:
        """Whether every process writes its own part."""
        return self.processes.count > 1 and self.processes.strategy == "sharded"

    def save(self, model: nn.Module, parts: dict[str, Any], history: list[EpochRecord], position: Position) -> None:
        """Write everything that the next step depends on; the checkpoint before stays until this one is whole."""
        if self.path is None:
            return
        state = {
            "settings": self.identity,
            "history": [record.model_dump() for record in history],
            "position": asdict(position),
            "model": model.state_dict(),
            **{name: part.state_dict() for name, part in parts.items()},
        }
        if self.is_sharded:
            save_sharded(self.path.with_suffix(""), sum_of_steps(history, position), state, self.processes)
        else:
            if self.processes.is_first:
                save_checkpoint(self.path, state)
            self.processes.wait()

    def restore(self, model: nn.Module, parts: dict[str, Any]) -> tuple[list[EpochRecord], Position] | None:
        """Load what was saved into `model` and `parts`; None where nothing was saved.

        Raises:
            InputError: a checkpoint of other settings or of another network, or a damaged one.
        """
        if self.path is None:
            return None
        path = self.path.with_suffix("") if self.is_sharded else self.path
        if not path.exists():
            return None
        state = load_sharded(path) if self.is_sharded else load_checkpoint(path)
        self._check(state.get("settings", {}), path)
        try:
            own = model.state_dict()
            model.load_state_dict({name: like(value, own[name]) for name, value in state["model"].items()})
            for name, part in parts.items():
                part.load_state_dict(_as_held(state[name], part, name))
            history = [EpochRecord.model_validate(record) for record in state["history"]]
            position = Position(state["position"]["step"], Sums(**state["position"]["sums"]))
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path} belongs to another network or is damaged; resume with the same model settings, or delete it "
                "to start this training anew."
            ) from error
        return history, position

    def _check(self, saved: dict[str, Any], path: Path) -> None:
        if saved != self.identity:
            changed = sorted(k for k, v in self.identity.items() if saved.get(k) != v)
            raise InputError(
                f"{path} was trained with other settings ({', '.join(changed)}); resume with the same ones or choose "
                "another --out."
            )


def sum_of_steps(history: list[EpochRecord], position: Position) -> int:
    """A number that rises with every checkpoint: whole epochs, then steps."""
    return len(history) * 1_000_000 + position.step


def _as_held(state: Any, part: Any, name: str) -> Any:
    """An optimizer's moments as the parameters are held, under whole numbers, which JSON has not as keys."""
    if name != "optimizer":
        return state
    held = [one for group in part.param_groups for one in group["params"]]
    moments = {
        int(index): {key: like(value, held[int(index)]) if value.dim() else value for key, value in moment.items()}
        for index, moment in state["state"].items()
    }
    return {**state, "state": moments}
