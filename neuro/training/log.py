"""What a training writes while it runs: lines of JSON, and TensorBoard's files where it is installed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from hardware_models.errors import InputError, RunError


class Log:
    """Appends one line of JSON for each entry; a line that a killed process left unfinished is cut off.

    Args:
        path: the file, `log.jsonl` by custom.
        tensorboard: folder of event files; None writes none.

    Raises:
        InputError: TensorBoard is wanted and not installed.
        RunError: the file cannot be written.
    """

    def __init__(self, path: Path, tensorboard: Path | None = None) -> None:
        self._path = path
        self._board = None if tensorboard is None else _board(tensorboard)
        try:
            if path.exists():
                content = path.read_bytes()
                whole = content[: content.rfind(b"\n") + 1]
                if whole != content:
                    path.write_bytes(whole)
        except OSError as error:
            raise self._fault(error) from error

    def write(self, event: str, step: int, values: dict[str, Any]) -> None:
        """Write an entry: what happened, at which step of the whole training, and its figures."""
        line = json.dumps({"event": event, "step": step, "time": round(time.time(), 3), **values})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise self._fault(error) from error
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{event}/{name}", value, step)

    def _fault(self, error: OSError) -> RunError:
        return RunError(f"could not write {self._path}: {error.strerror}; make room, then --resume.")

    def close(self) -> None:
        """Finish the files."""
        if self._board is not None:
            self._board.close()


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("tensorboard is not installed; pip install tensorboard, or leave tensorboard out.") from error
    return SummaryWriter(str(folder))
