"""A study on the disk: its document, its points, and the run that finds them.

A study is a folder: `study.yaml` as it was asked, `points.study` with all that was found (see `store`), and, where it
was searched, `points.optuna.log`, the trials for optuna-dashboard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hardware_models.chip import Chip, chip, load_chip
from hardware_models.errors import InputError, RunError, unknown_name
from hardware_models.files import write_atomically
from hardware_models.studies.answers import Evaluate
from hardware_models.studies.changes import changes
from hardware_models.studies.chunks import InChunks
from hardware_models.studies.document import StudyDocument
from hardware_models.studies.evaluation import CHIP, COSTS, FIGURE, Evaluation
from hardware_models.studies.filters import Filter
from hardware_models.studies.objectives import Objectives, WithFormulas
from hardware_models.studies.screen import screen
from hardware_models.studies.search import search
from hardware_models.studies.software import GivenNetworks, Software
from hardware_models.studies.space import Space
from hardware_models.studies.store import Store
from hardware_models.studies.workers import workers as open_workers

POINTS: Final = "points.study"
TRIALS: Final = "points.optuna.log"
DOCUMENT: Final = "study.yaml"
"""Files of a study's folder."""

SoftwareOf = Callable[[str], Callable[[Mapping[str, Any], Path], Software]]
"""Returns, for a kind of software side, what makes one of its section and the folder of its files."""


@dataclass(frozen=True)
class Study:
    """A study that has been checked, and may run.

    Attributes:
        document: what is asked.
        folder: where it is.
        store: what was found.
        evaluate: returns what becomes of points.
    """

    document: StudyDocument
    folder: Path
    store: Store
    evaluate: Evaluate

    @property
    def size(self) -> int:
        """How many points a whole run looks at."""
        method = self.document.method
        return self.store.space.size() if method.kind == "screen" else method.evaluations


def software_of(kind: str) -> Callable[[Mapping[str, Any], Path], Software]:
    """Return what makes the software side of `kind`: `given` alone is known here."""
    if kind != "given":
        raise unknown_name("kind of software side", kind, ["given"])
    return _given


def open_study(
    document: StudyDocument, folder: Path, software_of: SoftwareOf = software_of, resume: bool = False
) -> Study:
    """Check all of a study, and make its folder, or open the one that is there.

    Args:
        document: what is asked.
        folder: of the study.
        software_of: who answers for networks.
        resume: go on with the study that is there; without it only one that has no points yet is gone on with.

    Raises:
        InputError: an unknown chip, figure, axis, objective or software side; a space without a feasible point; a
            study that is there, and is not to be resumed or was asked something else.
        RunError: the folder cannot be written.
    """
    space = document.read_space()
    evaluate = _evaluation(document, space, software_of)
    if document.method.kind == "screen":
        next(space.feasible())
    else:
        space.sample(1, document.method.seed)
    path = folder / POINTS
    if not path.exists():
        return Study(document, folder, _created(document, space, folder), evaluate)
    store = Store.open(path)
    if not resume and any(store.counts().values()):
        store.close()
        raise InputError(f"{folder} holds a study already; give --resume to go on with it, or another --out.")
    changed = changes(store.document, document.to_document())
    if changed:
        store.close()
        raise InputError(f"{folder} holds another study ({'; '.join(changed)}); start a new one with --out.")
    return Study(document, folder, store, evaluate)


def run(study: Study, workers: int | str = 1, report: Callable[[int], object] = lambda done: None) -> None:
    """Screen or search the space of `study`, from where it stands; points that had failed get another chance.

    Args:
        study: an open one.
        workers: number of processes, `ray`, or `ray://HOST:PORT`.
        report: told how many of `study.size` points have been looked at.

    Raises:
        InputError: as `search` and `workers`.
        RunError: a file that cannot be written, or a worker that cannot start.
    """
    store, method = study.store, study.document.method
    with open_workers(workers, study.evaluate) as crew:
        evaluate = InChunks(crew, list(store.objectives), store.add)
        failed = store.read(Filter(("failed",)))
        if len(failed):
            store.add(evaluate(failed.points))
        if method.kind == "screen":
            screen(store, evaluate, report)
        else:
            search(store, evaluate, method, study.folder / TRIALS, report)


def _given(section: Mapping[str, Any], folder: Path) -> Software:
    return GivenNetworks.from_document(section, folder)


def _evaluation(document: StudyDocument, space: Space, software_of: SoftwareOf) -> Evaluate:
    kind = document.software.get("kind")
    if not isinstance(kind, str):
        raise InputError(f"software.kind is {kind!r}; name who answers for networks, such as given.")
    software = software_of(kind)(document.software, Path(str(document.software.get("folder", ""))))
    figures = (*COSTS, *software.figures)
    for name in document.senses:
        if name not in figures and name not in document.formulas:
            raise unknown_name("objective", name, figures)
    objectives = Objectives(tuple(document.senses), document.formulas, space.axes, figures)
    bands = document.bands
    evaluation = Evaluation(software, objectives.evaluated, document.chip, bands.samples, bands.seed)
    evaluation.check_axes([axis for axis in space.axes if axis not in objectives.axes or axis.startswith(FIGURE)])
    _check_figures(space, document.chip)
    return WithFormulas(evaluation, objectives) if document.formulas else evaluation


def _check_figures(space: Space, alone: str | None) -> None:
    """Refuse a chip that does not exist, and an axis of a figure that no chip of the study has."""
    names = space.axes[CHIP].term.choices if CHIP in space.axes else (str(alone),)
    if not names:
        raise InputError(f"axis {CHIP!r} holds no names; give choices such as [eyeriss, tpu_like].")
    known = {figure for member in map(_chip, names) for figure in member.figures}
    for axis in space.axes:
        if axis.startswith(FIGURE) and axis.removeprefix(FIGURE) not in known:
            raise unknown_name(f"figure of {', '.join(names)}", axis.removeprefix(FIGURE), known)


def _chip(name: str) -> Chip:
    return load_chip(Path(name)) if name.endswith((".yaml", ".yml")) else chip(name)


def _created(document: StudyDocument, space: Space, folder: Path) -> Store:
    plain = document.to_document()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make {folder} ({error.strerror or error}); give another folder.") from error
    with write_atomically(folder / DOCUMENT) as file:
        yaml.safe_dump(plain, file, sort_keys=False, allow_unicode=True, width=100)
    return Store.create(folder / POINTS, plain, space, document.senses)
