"""The report of a study as one HTML page: its data, style and scripts are inside it, and it loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from markupsafe import Markup

from hardware_models.chip import Chip
from hardware_models.errors import InputError
from hardware_models.files import write_atomically
from hardware_models.quantity import GRADES, Grade
from hardware_models.studies.evaluation import CHIP
from hardware_models.studies.store import Store
from neuro.report.study.costs import Costs, Networks, chip_of, networks_of
from neuro.report.study.details import MOST_DETAILED, Details, compute, pack_details
from neuro.report.study.names import axis_name, objective_name
from neuro.report.study.page_data import header, pack_points
from neuro.report.study.page_parts import page_scripts, page_style, policy, templates
from neuro.report.study.points import StudyPoints, read_points
from neuro.report.study.scored import scored_rows, scored_table, unscored
from neuro.report.study.static_fronts import static_fronts
from neuro.report.study.summary import Named, chip_table, finding, front_table, reasons_table, summary_table

# A JSON document stays the same when these are written as escapes, and can then stand inside <script>.
_SCRIPT_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def write_report(
    study_file: Path,
    out: Path | None = None,
    software: Networks | None = None,
    also: Sequence[int] = (),
    most_detailed: int = MOST_DETAILED,
) -> Path:
    """Write the page of a study and return where it is.

    Args:
        study_file: the file of the study.
        out: the page; None for `report.html` beside the study.
        software: answers for the study's networks; None for those that its document says it was given, whose files
            lie in the study's folder.
        also: points (their numbers on the page) whose energy by layer is wanted beside that of the fronts.
        most_detailed: points whose energy by layer is computed, at most.

    Raises:
        InputError: no study, or a point that is not on the page.
        RunError: the page cannot be written.
    """
    out = out or study_file.with_name("report.html")
    with Store.open(study_file, write=False) as store:
        document, points = store.document, read_points(store)
    page = render(points, document, study_file.parent, software, also, most_detailed)
    with write_atomically(out) as file:
        file.write(page)
    return out


def render(
    points: StudyPoints,
    document: Mapping[str, Any],
    folder: Path,
    software: Networks | None = None,
    also: Sequence[int] = (),
    most_detailed: int = MOST_DETAILED,
) -> str:
    """Return the page; arguments and errors are those of `write_report`."""
    details, without = _details(points, document, folder, software, also, most_detailed)
    chips = _chips(points, document)
    named = Named(
        {name: axis_name(name, chips) for name in points.results.points.values},
        {name: objective_name(name) for name in points.senses},
    )
    packed, columns, reasons = pack_points(points)
    detail_text, detailed = pack_details(details, also)
    scored = scored_rows(chips)
    style, scripts = page_style(), page_scripts()
    return (
        templates()
        .get_template("study.html.j2")
        .render(
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            policy=policy(style, scripts),
            data=Markup(_json(header(points, named, document, packed, columns))),
            columns=packed.text,
            reasons_text=reasons,
            details_text=detail_text,
            detailed=len(detailed),
            without=without,
            points=points,
            named=named,
            title=document.get("title") or document.get("name") or "Study",
            question=document.get("question") or "",
            findings=finding(points, named),
            summary=summary_table(points, document),
            chips=chip_table(chips, _grades(details)) if chips else None,
            reasons=reasons_table(points),
            fronts=static_fronts(points),
            front=front_table(points, named),
            scored=scored_table(scored) if scored else None,
            unscored=unscored(chips, scored),
            document=yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True),
            significant_bits=packed.bits,
        )
    )


def _details(
    points: StudyPoints,
    document: Mapping[str, Any],
    folder: Path,
    software: Networks | None,
    also: Sequence[int],
    most: int,
) -> tuple[Details, str]:
    """Points that were computed again, and why none was."""
    try:
        answers = software or networks_of(document, folder)
    except InputError as error:
        return Details({}, {}), str(error)
    return compute(points, Costs(document, answers), also, most), ""


def _chips(points: StudyPoints, document: Mapping[str, Any]) -> list[Chip]:
    """The chips of the study; a name that is no chip's has made its points infeasible, which the page tells."""
    values = points.results.points.values.get(CHIP)
    names: Iterable[Any] = [None] if values is None else sorted(set(values[points.results.points.is_active(CHIP)]))
    found: dict[str, Chip] = {}
    for name in names:
        try:
            chip = chip_of({} if name is None else {CHIP: name}, document.get("chip"))
        except InputError:
            continue
        found[chip.name] = chip
    return list(found.values())


def _grades(details: Details) -> dict[str, Grade]:
    """The weakest evidence among the figures that the estimates of each chip read."""
    found: dict[str, Grade] = {}
    for cost in details.costs.values():
        name = cost.estimate.chip.name
        found[name] = max(found.get(name, GRADES[0]), cost.estimate.grade, key=GRADES.index)
    return found


def _json(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_SCRIPT_ESCAPES)
