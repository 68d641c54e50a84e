"""The page of a study against the numbers of its file."""

import base64
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from study_files import NET, SENSES, SPACE, columns_of, header_of, random_results, unpacked, write_study

from hardware_models.errors import InputError
from hardware_models.studies.columns import Columns
from hardware_models.studies.evaluation import Evaluation
from hardware_models.studies.filters import Filter
from hardware_models.studies.results import STATES, Results
from hardware_models.studies.screen import screen
from hardware_models.studies.software import GivenNetworks
from hardware_models.studies.space import Space
from hardware_models.studies.store import Store
from neuro.report.study import write_pdf, write_report
from neuro.report.study.packing import MANTISSAS, Column, pack
from neuro.report.study.page import render
from neuro.report.study.points import limit, read_points

HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>{{7*7}}\u2028"
LOADS = {"src", "href", "xlink:href", "srcset", "action", "formaction", "poster", "data", "background"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    results = random_results(3000)
    path = write_study(folder / "points.study", results)
    with Store.open(path, write=False) as store:
        held = store.read(Filter(STATES))
    return held, write_report(path).read_text(encoding="utf-8")


def test_every_point_is_on_the_page(made):
    held, page = made
    columns = columns_of(page)
    assert columns["axis chip"] == held.points.values["chip"].tolist()
    active = held.points.is_active("hardware.array.rows")
    rows = [value if on else None for value, on in zip(held.points.values["hardware.array.rows"], active, strict=True)]
    assert columns["axis hardware.array.rows"] == rows
    assert columns["axis fused"] == held.points.values["fused"].tolist()
    np.testing.assert_allclose(columns["axis software.rate"], held.points.values["software.rate"], rtol=2**-23)
    for name, (value, low, high) in held.objectives.items():
        np.testing.assert_allclose(np.array(columns[f"value {name}"], dtype=float), value, rtol=2**-23)
        if name != "accuracy":  # which has no band
            np.testing.assert_allclose(columns[f"low {name}"], low, rtol=2**-16)
            np.testing.assert_allclose(columns[f"high {name}"], high, rtol=2**-16)
    assert [STATES[state] for state in columns["state"]] == held.state.tolist()
    reasons = json.loads(unpacked(page, "texts"))["reasons"]
    assert [reasons[int(place)] for place in columns["reason"]] == held.reason.tolist()


def test_the_fronts_are_those_of_comparing_every_pair(made):
    held, page = made
    done = np.flatnonzero(held.state == "done")
    signs = np.array([1 if sense == "minimise" else -1 for sense in SENSES.values()])
    values, lows, highs = (np.stack([held.objectives[n][end, done] for n in SENSES], 1) * signs for end in range(3))
    lows, highs = np.minimum(lows, highs), np.maximum(lows, highs)

    def unbeaten(best, worst):
        return [
            row for row, one in zip(done, best, strict=True)
            if not ((worst <= one).all(axis=1) & (worst < one).any(axis=1)).any()
        ]  # fmt: skip

    front = np.array(columns_of(page)["front"])
    assert np.flatnonzero(front == 2).tolist() == unbeaten(values, values)
    assert np.flatnonzero(front >= 1).tolist() == unbeaten(lows, highs)


def test_the_json_holds_the_front_exactly(made):
    held, page = made
    for one in header_of(page)["front"]:
        row = one["point"]
        assert one["axes"] == held.points.point(row)
        assert one["objectives"] == {name: values[:, row].tolist() for name, values in held.objectives.items()}


def test_counts_and_reasons(made):
    held, page = made
    header = header_of(page)
    assert header["counts"] == {state: int((held.state == state).sum()) for state in STATES}
    assert {one["limit"] for one in header["reasons"]} == {"needs … cores of …, give fewer"}
    assert sum(one["count"] for one in header["reasons"]) == int((held.state != "done").sum())
    assert header["seconds"] == pytest.approx(held.seconds.sum())


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("'small' needs 16394 neurons, not 256", "'small' needs … neurons, not …"),
        ("chip 'loihi2' of 1.5e-3 J", "chip 'loihi2' of … J"),
        ("stage1.0.conv has -3", "stage1.0.conv has …"),
    ],
)
def test_a_limit_is_a_reason_without_its_numbers(reason, expected):
    assert limit(reason) == expected


def test_a_large_study_keeps_its_fronts_and_counts(tmp_path):
    results = random_results(2000, seed=1)
    with Store.open(write_study(tmp_path / "points.study", results), write=False) as store:
        whole, part = read_points(store), read_points(store, most=500)
    assert len(part) == max(500, len(whole.robust))
    assert part.counts == whole.counts
    for front in ("nominal", "robust"):
        kept, all_of = getattr(part, front), getattr(whole, front)
        assert [part.values(row) for row in kept] == [whole.values(row) for row in all_of]


def test_a_hundred_thousand_points_stay_below_5_mb():
    """Values, bands and axes that no two points share: nothing there to compress."""
    count, random = 100_000, np.random.default_rng(0)
    axes = {f"axis{i}": random.random(count) for i in range(4)}
    value = 10.0 ** random.uniform(-9, -1, (2, count))
    ends = value * random.uniform(0.3, 1, (2, count)), value * random.uniform(1, 3, (2, count))
    names = ["energy_j", "latency_s"]
    objectives = {name: np.stack([value[i], ends[0][i], ends[1][i]]) for i, name in enumerate(names)}
    words = np.full(count, "", dtype=object)
    done = np.full(count, "done", dtype=object)
    results = Results(Columns(axes), objectives, done, words, random.random(count), words)

    class Held:
        objectives = dict.fromkeys(("energy_j", "latency_s"), "minimise")

        def read(self, which):
            return results

    points = read_points(Held())
    page = render(points, {"name": "large"}, None, GivenNetworks.__new__(GivenNetworks), most_detailed=0)
    assert len(page.encode()) < 5_000_000
    assert header_of(page)["points"] == count
    found = np.frombuffer(unpacked(page, "columns")[: 4 * count], dtype="u1").reshape(4, count).T.copy().view("<f4")
    np.testing.assert_allclose(found[:, 0], axes["axis0"], rtol=2**-12)


def test_a_study_without_any_evaluated_point_is_said_to_have_none(tmp_path):
    page = write_report(write_study(tmp_path / "points.study", random_results(20, left=1.0))).read_text()
    assert "No point of the study could be evaluated" in page
    assert header_of(page)["front"] == []


def test_what_does_not_fit_is_rounded_but_for_whole_numbers_and_the_front():
    values, whole = np.linspace(1, 2, 3000), np.arange(100_001, 103_001)
    front = np.arange(3000) == 7
    packed = pack([Column(values), Column(whole, whole=True), Column(values, bits=16)], front, budget=1)
    assert packed.bits == min(MANTISSAS)
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed.text)), dtype="u1").reshape(3, 4, 3000)
    found = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<f4")[:, :, 0]
    np.testing.assert_allclose(found[0], values, rtol=2**-12)
    assert np.abs(found[0] / values - 1).max() > 2**-14
    assert found[0][7] == np.float32(values[7])
    assert found[1].tolist() == whole.tolist()


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_nothing_breaks_out_and_nothing_is_loaded(tmp_path):
    results = random_results(50)
    results.reason[results.state != "done"] = HOSTILE
    path = write_study(tmp_path / "points.study", results, {"name": "x", "title": HOSTILE, "question": HOSTILE})
    page = write_report(path).read_text(encoding="utf-8")
    tags = Tags(page).tags
    assert sum(tag == "script" for tag, _ in tags) == 7
    assert not any(tag in ("img", "link") and "data:," not in given.values() for tag, given in tags)
    for _, given in tags:
        assert not any(name.startswith("on") or name == "style" for name in given)
        assert all((given[name] or "").startswith(("#", "data:,")) for name in LOADS & set(given))
    policy = next(given["content"] for tag, given in tags if given.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_controls_are_labelled(made):
    _, page = made
    tags = Tags(page).tags
    assert all(given.get("id") for tag, given in tags if tag == "select")
    for name in [given["id"] for tag, given in tags if tag in ("select",)]:
        assert re.search(rf'<label class="choice"><span>[^<]+</span><select id="{name}">', page), name


def test_layers_are_those_of_the_networks(tmp_path):
    (tmp_path / "net.yaml").write_text(NET)
    axes = {"chip": {"choices": ["eyeriss", "loihi2"]}, "software.bits": {"choices": [4, 8]}}
    document = {"name": "real", "software": {"kind": "given", "networks": {"net": "net.yaml"}}}
    senses = {"energy_j": "minimise", "latency_s": "minimise"}
    networks = GivenNetworks.from_document(document["software"], tmp_path)
    path = tmp_path / "points.study"
    with Store.create(path, document, Space.from_document({"axes": axes}), senses) as store:
        screen(store, Evaluation(networks, list(senses)))
    page = write_report(path, tmp_path / "page.html", also=[0, 1, 2, 3]).read_text(encoding="utf-8")
    details, columns = json.loads(unpacked(page, "details")), columns_of(page)
    assert sorted(details["points"]) == ["0", "1", "2", "3"]
    for row, detail in details["points"].items():
        whole = sum(sum(joules) for joules in detail["energy"]["components"].values())
        assert whole == pytest.approx(columns["value energy_j"][int(row)], rel=1e-4)
    with pytest.raises(InputError, match="has no point 4"):
        write_report(path, tmp_path / "page.html", also=[4])
    (tmp_path / "net.yaml").write_text(NET.replace("0.15", "0.3").replace("0.1,", "0.4,"))
    again = json.loads(unpacked(write_report(path).read_text(encoding="utf-8"), "details"))
    assert again["points"] == {}
    assert "they have changed since" in again["words"][next(iter(again["refused"].values()))]


def test_networks_that_are_not_there_are_said(tmp_path):
    document = {"name": "x", "software": {"kind": "trained", "epochs": 3}}
    page = write_report(write_study(tmp_path / "points.study", random_results(20), document)).read_text()
    assert "have to be made again first" in page


def test_a_pdf_needs_a_browser(tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    with pytest.raises(InputError, match="is no file"):
        write_pdf(page, tmp_path / "page.pdf")
    page.write_text("<p>words</p>")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="none of chromium"):
        write_pdf(page, tmp_path / "page.pdf")


def test_the_space_of_these_tests_has_inactive_axes():
    """The check of inactive axes above looks at some."""
    results = random_results(100)
    assert not results.points.is_active("hardware.array.rows").all()
    assert set(SPACE["axes"]) == set(results.points.values)
