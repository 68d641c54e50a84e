"""The page in a browser: a script that is put into a copy of it drives it, and what it then shows is compared."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from study_files import NET, SENSES, random_results, write_study

from hardware_models.chip import chip
from hardware_models.estimate import estimate
from hardware_models.inputs import read_workload
from hardware_models.studies.evaluation import Evaluation
from hardware_models.studies.filters import Filter
from hardware_models.studies.pareto import non_dominated, robust_front
from hardware_models.studies.results import STATES
from hardware_models.studies.screen import screen
from hardware_models.studies.software import GivenNetworks
from hardware_models.studies.space import Space
from hardware_models.studies.store import Store
from neuro.report.study import write_pdf, write_report

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

DRIVER = """
(async () => {
  const put = (found) => {
    const made = document.createElement("pre");
    made.id = "probe";
    made.textContent = JSON.stringify(found);
    document.body.append(made);
  };
  try {
    await window.study.ready;
    const { points, view, change, pick } = window.study;
    const at = (id) => document.getElementById(id);
    const choose = (id, value) => {
      at(id).value = value;
      at(id).dispatchEvent(new Event("change", { bubbles: true }));
    };
    const field = (name) => document.querySelector(`#filters [data-dimension="${name}"]`);
    const enter = (name, end, value) => {
      const input = field(name).querySelector(`[data-end=${end}]`);
      input.value = value;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    };
    const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const rows = (list) => Array.from(list);
    const fronts = () => [1, 2].map((least) => rows(view.passing).filter((row) => view.isFront[row] >= least));
    put(await (async () => { SCRIPT })());
  } catch (error) {
    put({ error: String(error.stack) });
  }
})();
"""


def drive(page, folder, script):
    """Return what `script` returns in the page, and what the console said."""
    code = DRIVER.replace("SCRIPT", script)
    allowed = "'sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() + "'"
    text = page.read_text(encoding="utf-8").replace("script-src ", f"script-src {allowed} ", 1)
    copy = folder / "driven.html"
    before, end, after = text.rpartition("</body>")
    copy.write_text(f"{before}<script>{code}</script>{end}{after}", encoding="utf-8")
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"),
        *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=10000", "--dump-dom", copy.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found.group(1))), said


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    path = write_study(folder / "points.study", random_results(2500))
    with Store.open(path, write=False) as store:
        return store.read(Filter(STATES)), write_report(path), folder


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    (folder / "net.yaml").write_text(NET)
    document = {"name": "real", "software": {"kind": "given", "networks": {"net": "net.yaml"}}}
    axes = {"chip": {"choices": ["eyeriss", "loihi1_nahuku", "generic_45nm"]}, "software.bits": {"choices": [4, 8]}}
    senses = {"energy_j": "minimise", "latency_s": "minimise"}
    networks = GivenNetworks.from_document(document["software"], folder)
    with Store.create(folder / "points.study", document, Space.from_document({"axes": axes}), senses) as store:
        screen(store, Evaluation(networks, list(senses)))
    return write_report(folder / "points.study", also=range(6)), folder


def expected_fronts(held, rows, names):
    """Rows on the robust and on the nominal front of two objectives, among `rows`."""
    value, low, high = (np.stack([held.objectives[name][end, rows] for name in names], axis=1) for end in range(3))
    senses = [SENSES[name] for name in names]
    robust, nominal = robust_front(low, high, senses), non_dominated(value, senses)
    return [rows[robust | nominal].tolist(), rows[nominal].tolist()]


@pytest.mark.parametrize("pair", [("latency_s", "energy_j"), ("accuracy", "energy_j"), ("latency_s", "accuracy")])
def test_filters_and_the_front_of_what_passes(made, pair):
    held, page, folder = made
    script = f"""
      choose("choose-x", "value {pair[0]}"); choose("choose-y", "value {pair[1]}");
      const whole = fronts();
      enter("axis software.rate", "from", "0.25"); enter("value energy_j", "to", "1e-3");
      field("axis chip").querySelector("input").click();
      return {{ whole, passing: rows(view.passing), part: fronts(), shown: at("shown").textContent,
                chips: points.dimensions[0].values }};"""
    found, said = drive(page, folder, script)
    assert said == []
    done = np.flatnonzero(held.state == "done")
    assert found["whole"] == expected_fronts(held, done, pair)
    first, axes = found["chips"][0], held.points.values
    kept = (axes["software.rate"][done] >= 0.25) & (held.objectives["energy_j"][0, done] <= 1e-3)
    passing = done[kept & (axes["chip"][done] != first)]
    assert found["passing"] == passing.tolist()
    assert found["part"] == expected_fronts(held, passing, pair)
    assert f"{len(found['part'][1])} on the front" in found["shown"]


def test_a_selection_in_one_part_is_one_in_all(made):
    held, page, folder = made
    script = """
      choose("choose-x", "value latency_s"); choose("choose-y", "value energy_j");
      view.box = [[1e-6, 1e-4], [1e-7, 1e-3]]; change("selection");
      choose("choose-list", "selected");
      const box = rows(view.selected), listed = at("list-note").textContent;
      at("clear").click();
      view.lines = new Map([["axis software.rate", [[0.1, 0.2], [0.7, 0.8]]]]); change("lines");
      return { box, listed, lines: rows(view.selected) };"""
    found, said = drive(page, folder, script)
    assert said == []
    latency, energy = (held.objectives[name][0] for name in ("latency_s", "energy_j"))
    inside = (latency >= 1e-6) & (latency <= 1e-4) & (energy >= 1e-7) & (energy <= 1e-3)
    assert found["box"] == np.flatnonzero(inside).tolist()
    assert found["listed"].replace("\u202f", " ").endswith(f"of {int(inside.sum())}")
    rate, done = held.points.values["software.rate"], held.state == "done"
    lines = done & (((rate >= 0.1) & (rate <= 0.2)) | ((rate >= 0.7) & (rate <= 0.8)))
    assert found["lines"] == np.flatnonzero(lines).tolist()


def test_arrow_keys_pick_points(made):
    _, page, folder = made
    script = """
      document.querySelector("#points-body tr[tabindex='0']").focus(); press("Home");
      const first = view.picked; press("ArrowDown"); press("ArrowDown"); const third = view.picked;
      press("End");
      return { first, third, last: view.picked, focus: document.activeElement.dataset.row, list: rows(view.nominal),
               x: rows(view.nominal).map((row) => view.x.numbers[row]), title: at("detail-h").textContent };"""
    found, said = drive(page, folder, script)
    assert said == []
    order = [row for _, row in sorted(zip(found["x"], found["list"], strict=True))]
    assert [found["first"], found["third"], found["last"]] == [order[0], order[2], order[-1]]
    assert found["focus"] == str(order[-1])
    assert found["title"].startswith(f"Point {order[-1]},")


def test_infeasible_points_are_listed_with_their_limit(made):
    held, page, folder = made
    script = """
      choose("choose-list", "infeasible");
      const row = at("points-body").rows[0];
      row.focus();
      return { row: Number(row.dataset.row), why: row.lastChild.textContent, lead: at("detail-lead").textContent };"""
    found, said = drive(page, folder, script)
    assert said == []
    assert held.state[found["row"]] == "infeasible"
    assert found["why"] == held.reason[found["row"]]
    assert found["lead"].endswith(found["why"])


def test_every_part_of_a_point_is_drawn(real):
    page, folder = real
    script = """
      const all = ["energy", "traffic", "roofline", "cores", "mesh", "rates"];
      const [chips, bits] = points.dimensions, shown = [];
      for (let row = 0; row < points.count; row++) {
        pick(row);
        const parts = all.filter((name) => at(`${name}-part`).offsetHeight > 0);
        const bars = echarts.getInstanceByDom(at("energy")).getOption().series;
        const joules = bars.map((one) => [one.name, one.data.reduce((a, b) => a + b, 0)]);
        const constants = at("constants-table").tBodies[0].rows.length;
        shown.push({ chip: chips.values[chips.numbers[row]], bits: bits.numbers[row], parts, constants,
                     joules: Object.fromEntries(joules) });
      }
      return shown;"""
    found, said = drive(page, folder, script)
    assert said == []
    parts = {
        "eyeriss": ["energy", "traffic", "roofline", "rates"],
        "generic_45nm": ["energy", "traffic", "roofline", "rates"],
        "loihi1_nahuku": ["energy", "traffic", "cores", "mesh", "rates"],
    }
    networks = GivenNetworks({"net": read_workload(folder / "net.yaml")})
    assert len(found) == 6
    for one in found:
        answer = estimate(networks.answer({"bits": one["bits"]}).table, chip(one["chip"]))
        assert one["parts"] == parts[one["chip"]]
        assert one["constants"] == len(answer.figures)
        assert one["joules"] == pytest.approx(
            {name: joules[0].sum() for name, joules in answer.energy_j.items() if joules[0].any()}, rel=1e-4
        )


def test_the_page_prints(real):
    page, folder = real
    made = write_pdf(page, folder / "page.pdf").read_bytes()
    assert made.startswith(b"%PDF")
    assert len(made) > 20_000
