"""The fixed parts of the page: templates, style, scripts, and the policy that lets it load nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

SCRIPTS: Final = (
    *("decode", "format", "points", "fronts", "scatter", "parallel", "controls"),
    *("table", "layer_charts", "chip_charts", "detail", "main"),
)
"""Parts of the page's script, in order; they share one scope."""


@cache
def templates() -> Environment:
    """Return the templates of the page and of the report of a run."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("neuro.report.study", "assets"), PackageLoader("neuro.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = lambda name: escape(name).replace(".", Markup(".<wbr>"))
    return environment


def _asset(name: str, package: str = "neuro.report.study", folder: str = "assets") -> str:
    return resources.files(package).joinpath(folder, name).read_text(encoding="utf-8")


def page_style() -> str:
    """Return the style of the report of a run, and what this page adds to it."""
    run = [_asset(name, "neuro.report", "templates") for name in ("report.css", "narrow.css")]
    return "".join([*run, _asset("study.css")])


def page_scripts() -> list[str]:
    """Return the chart library, the script of the report of a run, and the script of this page."""
    parts = [_asset(f"{name}.js") for name in SCRIPTS]
    study = "".join(["(() => {\n'use strict';\n", *parts, "})();\n"])
    return [_asset("echarts.min.js"), _asset("report.js", "neuro.report", "templates"), study]


def policy(style: str, scripts: Iterable[str]) -> str:
    """Return the content security policy: this style and these scripts, and nothing else from anywhere."""
    allowed = [
        "'sha256-" + base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() + "'" for t in (style, *scripts)
    ]
    return (
        f"default-src 'none'; style-src {allowed[0]}; script-src {' '.join(allowed[1:])}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
