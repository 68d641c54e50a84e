"""The trials of a search in Optuna's own form: a journal file beside the study, which optuna-dashboard opens.

Trials are written when they are known, those of a second in one write. Optuna's SQLite storage takes transactions for
every trial instead, a hundred times as long; `benchmarks/study_search.py` measures both.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hardware_models.errors import InputError, RunError
from hardware_models.studies.answers import Answer
from hardware_models.studies.columns import Columns
from hardware_models.studies.optuna_module import optuna
from hardware_models.studies.pareto import Sense
from hardware_models.studies.strategies import Trial, directions
from hardware_models.studies.suggestions import active_values

LIMITS: Final = "limits"
"""Optuna's constraint of every trial: 0 where it keeps all limits, 1 where it is infeasible."""

WRITTEN_EVERY_S: Final = 1.0
"""What a killed process has not written is asked for again, and answered from the study's own file."""

SEARCH: Final = "search"
"""Optuna's attribute of the study that says which search its trials are of."""


class History:
    """The trials so far, oldest first.

    Args:
        path: of the journal, which is made where there is none; None to keep them in memory.
        search: what the trials depend on, as plain data.
        objectives: of the study.

    Raises:
        InputError: the journal is damaged, or of another search.
        RunError: it cannot be written.
    """

    def __init__(self, path: Path | None, search: Mapping[str, Any], objectives: Mapping[str, Sense]) -> None:
        self._path = path
        self._last = time.monotonic()
        self.trials: list[Trial] = []
        if path is None:
            return
        try:
            self._open(path, search, objectives)
        except OSError as error:
            raise self._unwritten(error) from error
        except (ValueError, KeyError, AssertionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is no journal of Optuna's, or damaged ({error}); take it away.") from error

    def add(self, trials: Sequence[Trial]) -> None:
        """Note `trials`; they are written with those of the last second.

        Raises:
            RunError: a full disk; the study's own file has the points all the same.
        """
        self.trials += trials
        if self._path is not None:
            self._study.add_trials(trials)
            if time.monotonic() - self._last >= WRITTEN_EVERY_S:
                self.close()

    def close(self) -> None:
        """Write what was noted; trials may still be added.

        Raises:
            RunError: a full disk.
        """
        if self._path is None:
            return
        try:
            self._journal.flush()
        except OSError as error:
            raise self._unwritten(error) from error
        self._last = time.monotonic()

    def _open(self, path: Path, search: Mapping[str, Any], objectives: Mapping[str, Sense]) -> None:
        _cut_half_line(path)
        storages = optuna().storages
        lock = storages.journal.JournalFileOpenLock(str(path))
        self._journal = _Batched(storages.journal.JournalFileBackend(str(path), lock_obj=lock))
        storage = storages.JournalStorage(self._journal)
        said = json.loads(json.dumps(search))
        if storage.get_all_studies():
            self._study = optuna().load_study(study_name=None, storage=storage)
            if self._study.user_attrs.get(SEARCH) != said:
                raise InputError(f"{path} holds the trials of another search; take it away, or start a new study.")
        else:
            self._study = optuna().create_study(
                study_name=path.name.partition(".")[0], storage=storage, directions=directions(objectives)
            )
            self._study.set_metric_names(list(objectives))
            self._study.set_user_attr(SEARCH, said)
            self._journal.flush()
        self.trials += self._study.get_trials(deepcopy=False)

    def _unwritten(self, error: OSError) -> RunError:
        return RunError(f"could not write {self._path}: {error.strerror or error}; free space, then resume the study.")


def trials_of(
    points: Columns,
    answers: Sequence[Answer],
    distributions: Mapping[str, Any],
    objectives: Mapping[str, Sense],
    start: int = 0,
) -> list[Trial]:
    """Return what became of `points` as Optuna's trials, numbered from `start`.

    An infeasible point is a complete trial, beyond its limits, with the worst of values; a failed one has none.
    """
    states = optuna().trial.TrialState
    worst = [math.inf if sense == "minimise" else -math.inf for sense in objectives.values()]
    trials = []
    for number, (params, answer) in enumerate(zip(active_values(points), answers, strict=True), start):
        failed = answer.state == "failed"
        trial = optuna().trial.create_trial(
            state=states.FAIL if failed else states.COMPLETE,
            values=None if failed else list(answer.values) if answer.state == "done" else worst,
            params=params,
            distributions={name: distributions[name] for name in params},
            constraints=None if failed else {LIMITS: float(answer.state != "done")},
            user_attrs={"reason": answer.reason} if answer.reason else None,
        )
        trial.number = number
        trials.append(trial)
    return trials


class _Batched:
    """A journal of Optuna's whose lines wait for `flush`; nobody else writes to it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._waiting: list[dict[str, Any]] = []
        self._written = sum(1 for _ in file.read_logs(0))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        if log_number_from < self._written:
            yield from self._file.read_logs(log_number_from)
        yield from self._waiting[max(0, log_number_from - self._written) :]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._waiting += logs

    def flush(self) -> None:
        if self._waiting:
            self._file.append_logs(self._waiting)
            self._written += len(self._waiting)
            self._waiting = []


def _cut_half_line(path: Path) -> None:
    """Take away what a process left that was killed while it wrote: a last line without an end."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
