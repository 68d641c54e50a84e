"""`neuro study`: search networks, algorithms and chips together, and read what was found."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.document import read_study, study_names, study_path
from hardware_models.studies.export import export
from hardware_models.studies.fronts import compare_fronts, read_front, values_of
from hardware_models.studies.store import Store
from hardware_models.studies.study import DOCUMENT, POINTS, Study, open_study
from hardware_models.studies.study import run as run_study
from neuro.cli.study_software import software_of
from neuro.cli.study_tables import print_points
from neuro.cli.terminal import Terminal

DESCRIPTION = """\
Search a space of networks, algorithms and chips, and read the front of what they cost.

  neuro study list
  neuro study run NAME|FILE.yaml [--out DIR] [--workers N]     makes studies/NAME
  neuro study run studies/NAME --resume
  neuro study show studies/NAME [--robust]
  neuro study export studies/NAME front.csv --front
  neuro study report studies/NAME                              a page to explore, offline
  neuro study compare studies/ONE studies/OTHER

The trials of a search open with: optuna-dashboard studies/NAME/points.optuna.log
"""

STUDIES: Final = Path("studies")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommands."""
    chosen = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Subcommand)
    for name, (_, about, declare) in ACTIONS.items():
        declare(chosen.add_parser(name, help=about, description=about))


def run(args: argparse.Namespace) -> int:
    """Do what the subcommand says."""
    ACTIONS[args.action][0](args)
    return 0


def _declare_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="NAME|FILE|DIR", help="a shipped study, a YAML file, or the folder of one")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to make (studies/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with the study that is there")
    parser.add_argument("--workers", metavar="N|ray|ray://HOST:PORT", default="1", help="who evaluates (1)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="one entry by its dotted key, for example method.evaluations=500; can be repeated",
    )


def _run(args: argparse.Namespace) -> None:
    given = Path(args.study)
    file = given / DOCUMENT if given.is_dir() else study_path(args.study)
    document = read_study(file, dict(map(_assignment, args.assignments)))
    out = args.out or (given if given.is_dir() else STUDIES / document.name)
    console = Terminal(soft_wrap=True)
    study = open_study(document, out, software_of, args.resume)
    with study.store as store:
        try:
            _run_with_bar(study, args.workers)
        except BaseException as error:
            error.add_note(f"what was found is kept, continue with: neuro study run {out} --resume")
            raise
        console.print(f"{_counts(store)}: {out}", markup=False)


def _run_with_bar(study: Study, workers: str) -> None:
    from tqdm import tqdm

    with tqdm(total=study.size, desc=study.document.name, unit="point", disable=None) as bar:
        run_study(study, workers, lambda done: bar.update(done - bar.n))


def _declare_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="the folder of a study, or its name under studies/")
    parser.add_argument("--front", action="store_true", help="the points that no other dominates (as without it)")
    parser.add_argument("--robust", action="store_true", help="those that none dominates whatever the bands hold")
    parser.add_argument("--limit", metavar="N", type=int, default=20, help="how many points (20)")


def _show(args: argparse.Namespace) -> None:
    if args.limit < 1:
        raise InputError(f"--limit was {args.limit}; give at least 1.")
    console = Terminal()
    with _opened(args.study) as store:
        front = read_front(store, args.robust)
        senses = ", ".join(f"{name} {sense}" for name, sense in store.objectives.items())
        about = store.document.get("question") or store.document.get("title") or store.document.get("name", "")
        console.print(f"{about}\n{_counts(store)}; {senses}", markup=False)
        kind = "robust front" if args.robust else "front"
        console.print(f"{kind}: {len(front)} of {store.counts()['done']} points")
        print_points(front, args.limit, console)


def _declare_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="the folder of a study, or its name under studies/")
    parser.add_argument("file", metavar="FILE", type=Path, help="FILE.csv or FILE.parquet")
    parser.add_argument("--front", action="store_true", help="only the points that no other dominates")


def _export(args: argparse.Namespace) -> None:
    with _opened(args.study) as store:
        if not args.front:
            count = export(store, args.file)
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / POINTS
                with Store.create(path, store.document, store.space, store.objectives) as front:
                    front.add(read_front(store))
                    count = export(front, args.file)
    print(f"{count} points: {args.file}")


def _declare_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="the folder of a study, or its name under studies/")
    parser.add_argument("--out", metavar="FILE", type=Path, help="the page (report.html in the study's folder)")
    parser.add_argument("--pdf", metavar="FILE", type=Path, help="print it too, by Chromium")
    parser.add_argument(
        "--point", metavar="N", type=int, action="append", default=[], help="work out this point's layers too"
    )


def _report(args: argparse.Namespace) -> None:
    from neuro.report.study import write_pdf, write_report

    file = _file(args.study)
    with Store.open(file, write=False) as store:
        section = store.document.get("software", {})
    software = software_of(str(section.get("kind", "given")))(section, Path(str(section.get("folder", ""))))
    print(f"report: {write_report(file, args.out, software, args.point)}")
    if args.pdf is not None:
        print(f"pdf: {write_pdf(args.out or file.with_name('report.html'), args.pdf)}")


def _declare_compare(parser: argparse.ArgumentParser) -> None:
    for name in ("one", "other"):
        parser.add_argument(name, metavar=name.upper(), help="the folder of a study, or its name under studies/")


def _compare(args: argparse.Namespace) -> None:
    with _opened(args.one) as one, _opened(args.other) as other:
        if dict(one.objectives) != dict(other.objectives):
            raise InputError(
                f"{args.one} has the objectives {dict(one.objectives)} and {args.other} {dict(other.objectives)}; "
                "compare studies of the same ones."
            )
        values = [values_of(read_front(store)) for store in (one, other)]
        compared = compare_fronts(values[0], values[1], one.objectives)
    for name, mine, yours in zip((args.one, args.other), compared, (args.other, args.one), strict=True):
        print(f"{name}: {mine.points} points on the front, hypervolume {mine.volume:.4f},", end=" ")
        print(f"{mine.beaten} of them dominated by {yours}")
    print("hypervolume: share of the box from the best of both fronts to 10 % of the span beyond their worst.")


def _declare_list(parser: argparse.ArgumentParser) -> None:
    pass


def _list(args: argparse.Namespace) -> None:
    shipped = {name: read_study(study_path(name)).title for name in study_names()}
    here = {str(path.parent): _state(path) for path in sorted(STUDIES.glob(f"*/{POINTS}"))}
    width = max(map(len, [*shipped, *here]), default=0)
    for name, about in [*shipped.items(), *here.items()]:
        print(f"{name:<{width}}  {about}")
    if not shipped and not here:
        print(f"there is no study under {STUDIES}, and none ships.")


def _state(path: Path) -> str:
    try:
        with Store.open(path, write=False) as store:
            return _counts(store)
    except InputError as error:
        return str(error)


ACTIONS: Final[
    Mapping[str, tuple[Callable[[argparse.Namespace], None], str, Callable[[argparse.ArgumentParser], None]]]
] = {
    "run": (_run, "evaluate the points of a study, or search among them", _declare_run),
    "show": (_show, "print the front of a study", _declare_show),
    "export": (_export, "write the points of a study as CSV or Parquet", _declare_export),
    "report": (_report, "make the page of a study, to explore in a browser", _declare_report),
    "compare": (_compare, "compare the fronts of two studies", _declare_compare),
    "list": (_list, "list the shipped studies, and those under studies/", _declare_list),
}
"""By name: what does it, what it is, and what declares its arguments."""


class _Subcommand(argparse.ArgumentParser):
    """A parser whose complaints are one sentence, and name its own options."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help.")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise unknown_name(
                "argument", unknown[0], [one for action in self._actions for one in action.option_strings]
            )
        return found, unknown


def _opened(given: str) -> Store:
    """Open the study in a folder, of a name under studies/, or in a file."""
    return Store.open(_file(given), write=False)


def _file(given: str) -> Path:
    path = Path(given)
    if not path.exists() and (STUDIES / given).is_dir():
        path = STUDIES / given
    return path / POINTS if path.is_dir() else path


def _counts(store: Store) -> str:
    return ", ".join(f"{count} {state}" for state, count in store.counts().items() if count or state == "done")


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set was given {text!r}; write --set key=value, for example --set method.evaluations=500.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {key} was given {value!r}, which is not a YAML value.") from error
