"""The page: its figures, that it loads nothing, and that nothing breaks out of it."""

import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import pytest

from hardware_models.workload import Workload
from neuro.report import render_html, to_json, write_report

from .network import network_documents
from .synthetic import AC_J, MAC_J, small_documents, write_run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"&{{7*7}}\u2028"
LOADS = {"src", "href", "xlink:href", "srcset", "action", "formaction", "poster", "data", "background"}


class Page(HTMLParser):
    """Tags with attributes, the text of the tables by id, and the raw text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.text: list[str] = []
        self._table = ""
        self._cell: list[str] | None = None
        self._title: str | None = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "table":
            self._table = given["id"] or ""
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self._cell, self._title = [], given.get("title")
        elif tag in ("script", "style"):
            self.raw.append((tag, given, ""))

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self.tables[self._table][-1].append(("".join(self._cell).strip(), self._title))
            self._cell = None

    def handle_data(self, data):
        if self.raw and self.cdata_elem:
            tag, given, text = self.raw[-1]
            self.raw[-1] = (tag, given, text + data)
            return
        self.text.append(data)
        if self._cell is not None:
            self._cell.append(data)


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_html(small_documents()))


def data_of(page: Page) -> str:
    return next(text for tag, given, text in page.raw if given.get("type") == "application/json")


def test_figures_appear_exactly(page):
    head, conv, last = page.tables["t-energy-spiking-merged"]
    assert [text for text, _ in head][3:6] == ["MAC", "AC", "Energy, nJ"]
    assert [text for text, _ in conv][1:6] == ["stem.conv", "conv", "576", "0", "2.650"]
    assert float(conv[5][1]) == 576 * MAC_J
    assert [text for text, _ in last][1:6] == ["head", "linear", "0", "120", "0.108"]
    assert float(last[5][1]) == 120 * AC_J


def test_summary_has_every_row_and_note(page):
    rows = page.tables["t-summary"][1:]
    assert [row[0][0] for row in rows] == [
        "Float parent", "Spiking variant, as trained", "Spiking variant, merged", "Quantized parent1",
    ]  # fmt: skip
    assert [row[3][0] for row in rows] == ["99.17", "98.33", "98.33", "not measured"]
    assert "Its cost at 2 bits; its accuracy is not measured." in page.text


def test_headlines(page):
    text = " ".join("".join(page.text).split())
    assert "354 of 360 test samples" in text
    assert "17.2 %" in text  # 240 of 1392 operations
    assert "52.6 % of the dense MACs" in text


def test_rates(page):
    _, row = page.tables["t-rates"]
    assert [text for text, _ in row][1:7] == ["stem.neuron", "32", "0.250", "0.125", "0.188", "75.0"]


def test_audits_before_and_after_merging(page):
    merged, trained = page.tables["t-audit-spiking-merged"], page.tables["t-audit-spiking"]
    assert [row[3][0] for row in merged[1:]] == ["multiply-accumulate", "neuron", "accumulate-only"]
    assert [row[3][0] for row in trained[1:]].count("normalisation") == 1
    assert "input: {0, 1} × 0.25, 1 bit, unsigned" in merged[3][8][0]


def test_the_data_inside_are_the_report(page):
    assert json.loads(data_of(page)) == json.loads(to_json(small_documents()))


def test_nothing_is_loaded_from_anywhere(page):
    for _, given in page.tags:
        for name, value in given.items():
            if name in LOADS:
                assert value is not None
                assert value.startswith("#") or value == "data:,"
            assert name != "style"
    for tag, given, text in page.raw:
        if given.get("type") != "application/json":
            assert not re.search(r"https?:|url\(|@import|import\(|fetch\(|XMLHttp|//cdn", text), tag
    assert any("https://doi.org/" in text for text in page.text)  # a source, as plain text
    assert not [given for tag, given in page.tags if tag in ("iframe", "object", "embed", "base")]


def test_the_policy_allows_this_style_and_script_only(page):
    policy = next(g["content"] for t, g in page.tags if t == "meta" and "http-equiv" in g)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, given, text in page.raw:
        if "type" not in given:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy


def test_handlers_are_not_in_the_markup(page):
    assert not [name for _, given in page.tags for name in given if name.startswith("on")]


def test_hostile_names_stay_text():
    documents = small_documents(HOSTILE)
    hostile = documents.record.model_copy(update={"model": HOSTILE, "dataset": HOSTILE, "notes": [HOSTILE]})
    environment = {HOSTILE: {"a": [HOSTILE]}}
    shown = Page(render_html(dataclasses.replace(documents, record=hostile, spec=environment, environment=environment)))
    plain = Page(render_html(small_documents()))
    kinds = [tag for tag, _ in shown.tags if tag in ("script", "img", "style", "iframe")]
    assert kinds == [tag for tag, _ in plain.tags if tag in ("script", "img", "style", "iframe")]
    assert not [name for _, given in shown.tags for name in given if name.startswith("on")]
    assert shown.tables["t-rates"][1][1][0] == f"{HOSTILE}.neuron".strip()
    assert json.loads(data_of(shown))["conversion"]["model"] == HOSTILE


def test_ids_are_unique_and_labels_resolve(page):
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    for _, given in page.tags:
        for name in ("aria-labelledby", "data-copy", "data-filter"):
            if name in given:
                assert given[name] in ids
        if str(given.get("href", "")).startswith("#"):
            assert given["href"][1:] in ids


def test_a_hundred_layers_stay_below_a_megabyte():
    documents = network_documents(blocks=33)
    assert sum(1 for _ in documents.workloads["spiking-merged"].synaptic_layers()) == 100
    html = render_html(documents)
    assert len(html.encode()) < 1_000_000
    assert len(Page(html).tables["t-energy-spiking-merged"]) == 101


def test_a_run_without_training_neurons_or_figures():
    documents = small_documents()
    bare = Workload(name="bare", timesteps=1, batch=1, layers=())
    rows = [row.model_copy(update={"accuracy": None, "firing_rate": math.nan}) for row in documents.record.rows]
    record = documents.record.model_copy(update={"training": {}, "rows": rows[:1]})
    workloads = dict.fromkeys(documents.workloads, bare)
    estimates = {"spiking": documents.estimates["spiking"].model_copy(update={"layers": ()})}
    empty = dataclasses.replace(documents, record=record, workloads=workloads, estimates=estimates)
    page = Page(render_html(empty))
    assert "t-rates" not in page.tables
    assert "t-training" not in page.tables
    assert len(page.tables["t-summary"]) == 2


def test_the_page_of_a_run_directory(tmp_path):
    write_run(small_documents(), tmp_path)
    assert write_report(tmp_path) == tmp_path / "report.html"
    assert write_report(tmp_path, tmp_path / "other.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_one_epoch_draws():
    documents = small_documents()
    training = {key: epochs[:1] for key, epochs in documents.record.training.items()}
    record = documents.record.model_copy(update={"training": training})
    page = Page(render_html(dataclasses.replace(documents, record=record)))
    assert len(page.tables["t-training"]) == 3


def test_a_loss_that_is_no_number_leaves_a_gap():
    documents = small_documents()
    epochs = documents.record.training["spiking"]
    broken = [epochs[0], epochs[1].model_copy(update={"loss": math.nan, "test_accuracy": None})]
    record = documents.record.model_copy(update={"training": {"spiking": broken, "float": []}})
    html = render_html(dataclasses.replace(documents, record=record))
    assert "nan" not in "".join(re.findall(r'(?:d|cx|cy|x|y|width|height)="([^"]*)"', html)).lower()
