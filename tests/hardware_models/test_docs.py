"""The pages on hardware: every snippet runs, prints what stands below it, and equals what was worked by hand.

`python tests/hardware_models/test_docs.py` writes what the snippets print now into the pages.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic_core import PydanticUndefined

from hardware_models.chip import chip_names
from hardware_models.engine import ENGINES, engine
from hardware_models.precision import Precision
from hardware_models.sparsity import OperandRules, SparsityRule

DOCS = Path(__file__).parents[2] / "docs"
WORKED = sorted((DOCS / "engines").glob("*.md"))
PAGES = [DOCS / "hardware.md", DOCS / "chips.md", *WORKED]

FILE = re.compile(r"```yaml\n# (\S+\.yaml)\n(.*?)```", re.DOTALL)
SNIPPET = re.compile(
    r"(?P<code>```(?P<language>python|sh)\n(?P<lines>.*?)```\n)"
    r"(?:(?P<text>\n```text\n)(?P<shown>.*?)```|(?P<head>\n\|[^\n]*\n\|[-|]+\n)(?P<rows>(?:\|[^\n]*\n)*))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """A block of code, what stands below it, and what it prints."""

    lines: str
    shown: str
    printed: str


def run_page(page: Path) -> list[Snippet]:
    """Run the snippets of a page, in order and in one folder that holds its YAML files."""
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name, content in FILE.findall(text):
            Path(name).write_text(content, encoding="utf-8")
        return [
            Snippet(m["lines"], m["shown"] or m["rows"] or "", _printed(m["language"], m["lines"], names))
            for m in SNIPPET.finditer(text)
        ]


def _printed(language: str, lines: str, names: dict[str, Any]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        if language == "python":
            exec(compile(lines, "snippet", "exec"), names)
        else:
            for line in lines.splitlines():
                _command(line)
    # rich fills lines up to the width of the terminal.
    return re.sub(r" +$", "", out.getvalue(), flags=re.MULTILINE)


def _command(line: str) -> None:
    """Run one `neuro ... [> FILE]`."""
    from neuro.cli import main

    command, _, target = line.partition(">")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(shlex.split(command)[1:]) == 0
    if target:
        Path(target.strip()).write_text(out.getvalue(), encoding="utf-8")
    else:
        print(out.getvalue(), end="")


@pytest.fixture(scope="module", autouse=True)
def _width() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        yield


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_print_what_the_page_shows(page: Path) -> None:
    for snippet in run_page(page):
        assert snippet.printed == snippet.shown, snippet.lines


def hand_rows(page: Path) -> dict[str, tuple[str, str]]:
    """Return the rows of the tables worked by hand: expression and figure by name."""
    tables = re.findall(r"\| quantity \| by hand \|.*\n\|[-|]+\n((?:\|.*\n)*)", page.read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (\S+) \|", "".join(tables), re.M)
    assert len(rows) == sum(table.count("\n") for table in tables)
    return {name: (expression, figure) for name, expression, figure in rows}


def calculated(expression: str) -> float:
    """Return the value of an expression such as `2 x ceil(5 / 2)`."""
    assert re.fullmatch(r"[\d\s+\-*/().,x]|(?:[\d\s+\-*/().,x]|ceil|max|log2)+", expression), expression
    functions = {"ceil": math.ceil, "max": max, "log2": math.log2}
    return float(eval(expression.replace("max", "MAX").replace("x", "*").replace("MAX", "max"), functions))


@pytest.mark.parametrize("page", [DOCS / "hardware.md", *WORKED], ids=lambda page: page.stem)
def test_the_worked_examples_add_up(page: Path) -> None:
    rows = hand_rows(page)
    assert len(rows) >= 7
    for name, (expression, figure) in rows.items():
        assert calculated(expression) == pytest.approx(float(figure), rel=1e-5), name


@pytest.mark.parametrize("page", [DOCS / "hardware.md", *WORKED], ids=lambda page: page.stem)
def test_the_models_give_what_was_worked_by_hand(page: Path) -> None:
    by_hand = {name: float(figure) for name, (_, figure) in hand_rows(page).items()}
    printed = "; ".join(snippet.printed.replace("\n", "; ") for snippet in run_page(page))
    found = {name: float(value) for name, value in re.findall(r"([a-zA-Z][\w ,.-]*?) ([\d.]+)(?=;|$)", printed)}
    if page in WORKED:
        assert set(found) <= set(by_hand)
        assert {"latency", "fc"} & set(found)
    compared = set(found) & set(by_hand)
    assert len(compared) >= 6
    for name in compared:
        assert found[name] == pytest.approx(by_hand[name], rel=1e-5), name


@pytest.mark.parametrize("name", ENGINES)
def test_every_setting_of_an_engine_stands_in_its_table(name: str) -> None:
    text = (DOCS / "chips.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    table = section.partition("| setting |")[2]
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \| (.*?) ?\| .+ \|$", table, re.M)
    stated = {
        setting: (values, default) for names, values, default in rows for setting in re.findall(r"`(.+?)`", names)
    }
    fields = engine(name).Settings.model_fields
    assert set(stated) == set(fields)
    for setting, field in fields.items():
        values, default = stated[setting]
        literals = [value for value in get_args(field.annotation) if isinstance(value, str)]
        assert set(re.findall(r"`([a-z0-9-]+)`", values)) >= set(literals) - {"input", "weight"}, setting
        if isinstance(field.default, bool | str | int | float):
            assert default.strip("` ") == f"{field.default}".lower().removesuffix(".0"), setting
        elif field.default is PydanticUndefined and field.default_factory is None:
            assert default == "", setting


def test_the_number_of_shipped_chips() -> None:
    assert f"{len(chip_names())} ship;" in (DOCS / "hardware.md").read_text(encoding="utf-8")


def test_the_shared_settings_stand_in_their_table() -> None:
    text = (DOCS / "chips.md").read_text(encoding="utf-8")
    section = text.partition("## Settings that several engines share")[2].partition("\n## ")[0]
    for field in Precision.model_fields:
        assert f"`precision.{field}`" in section
    for operand in OperandRules.model_fields:
        assert all(f"`LEVEL.{operand}.{field}`" in section for field in SparsityRule.model_fields)
    literals = {
        v for model in (Precision, SparsityRule) for f in model.model_fields.values() for v in get_args(f.annotation)
    }
    assert {value for value in literals if isinstance(value, str)} <= set(re.findall(r"`([a-z-]+)`", section))


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, DOCS / "architecture.md", DOCS / "workloads.md"]:
        for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
            target = page if not link else (page.parent / link).resolve()
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
                assert anchor in {head.lower().replace(" ", "-") for head in heads}, f"{page.name}: #{anchor}"


def rewrite(page: Path) -> None:
    """Write what the snippets of a page print into it."""
    printed = iter(snippet.printed for snippet in run_page(page))

    def block(m: re.Match[str]) -> str:
        out = next(printed)
        return m["code"] + (f"{m['text']}{out}```" if m["text"] else f"{m['head']}{out}" if m["head"] else "")

    page.write_text(SNIPPET.sub(block, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    for given in map(Path, sys.argv[1:]) if sys.argv[1:] else PAGES:
        rewrite(given.resolve())
