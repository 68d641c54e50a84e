"""Whole studies: checked before anything runs, kept when they are killed, and resumed only as what they were."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from study_problems import TWO, Logged, logged, results, unit_cube, zdt1

from hardware_models.errors import InputError, RunError
from hardware_models.studies.columns import Columns
from hardware_models.studies.document import StudyDocument, read_study
from hardware_models.studies.evaluation import COSTS
from hardware_models.studies.expressions import Term
from hardware_models.studies.filters import Filter
from hardware_models.studies.fronts import compare_fronts, read_front
from hardware_models.studies.objectives import Objectives, WithFormulas
from hardware_models.studies.results import STATES
from hardware_models.studies.rule_reader import read_quantity
from hardware_models.studies.space import Space
from hardware_models.studies.store import Store
from hardware_models.studies.study import POINTS, Study, open_study, run

ROOT = Path(__file__).parents[3]

LAYERS = """\
schema: neuro.layers/1
name: two layers
timesteps: 4
defaults: {weights: integer, weight_bits: 8}
layers:
  - {name: fc1, kind: linear, in: 64, filters: 32, input: binary, density: 0.25, neuron: lif, rate: 0.1}
  - {name: fc2, kind: linear, filters: 10}
"""

STUDY = """\
schema: neuro.study/1
name: array
question: Which array?
software: {kind: given, networks: {net: net.yaml}}
space:
  axes:
    chip: {choices: [eyeriss, loihi2]}
    hardware.array.rows: {integer: [4, 16], step: 4, when: "chip == 'eyeriss'"}
    hardware.array.cols: {integer: [4, 16], step: 4, when: "chip == 'eyeriss'"}
    software.timesteps: {choices: [2, 4]}
  constraints: ["hardware.array.rows * hardware.array.cols <= 128"]
objectives: {energy_j: minimise, latency_s: minimise}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the study with some entries replaced, `__` for a dot; returns its file."""
    (tmp_path / "net.yaml").write_text(LAYERS)

    def written(**entries: Any) -> Path:
        data = yaml.safe_load(STUDY)
        for key, value in entries.items():
            *places, last = key.split("__")
            section = data
            for place in places:
                section = section[place]
            section[last] = value
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    return written


def opened(file: Path, out: Path, **more: Any) -> Study:
    return open_study(read_study(file), out, **more)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("method", [{"kind": "screen"}, {"kind": "nsga2", "evaluations": 40, "population": 10}])
def test_a_study_runs_and_is_resumed(write: Write, tmp_path: Path, method: Any, workers: int) -> None:
    told: list[int] = []
    file = write(method=method, objectives__places={"minimise": "energy_j * latency_s"})
    study = opened(file, tmp_path / "out")
    with study.store as store:
        run(study, workers, told.append)
        assert told[-1] == study.size
        found = store.read()
        energy, latency, product = (found.objectives[name] for name in ("energy_j", "latency_s", "places"))
        np.testing.assert_array_equal(product, energy * latency)
        front = read_front(store)
    shutil.move(tmp_path / "out", tmp_path / "moved")
    with opened(tmp_path / "moved" / "study.yaml", tmp_path / "moved", resume=True).store as store:
        assert read_front(store).points.keys() == front.points.keys()


def test_the_search_finds_the_front_of_the_screen(write: Write, tmp_path: Path) -> None:
    fronts = []
    for method in ({"kind": "screen"}, {"kind": "nsga2", "evaluations": 120, "population": 20}):
        study = opened(write(method=method), tmp_path / str(method["kind"]))
        with study.store as store:
            run(study)
            fronts.append(set(read_front(store).points.keys()))
    assert fronts[0] == fronts[1]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"space": {"axes": {"chip": {"choices": ["eyeris"]}}}}, "unknown chip 'eyeris'; did you mean 'eyeriss'"),
        ({"space": {"axes": {"chip": {"integer": [1, 2]}}}}, "axis 'chip' holds no names"),
        (
            {"space": {"axes": {"chip": {"choices": ["eyeriss"]}, "hardware.array.row": {"integer": [1, 2]}}}},
            "unknown figure of eyeriss 'array.row'; did you mean 'array.rows'",
        ),
        (
            {"space": {"axes": {"chip": {"choices": ["eyeriss"]}, "software.timestep": {"integer": [1, 2]}}}},
            "unknown axis 'software.timestep'; did you mean 'software.timesteps'",
        ),
        ({"objectives": {"energy": "minimise"}}, "unknown objective 'energy'; did you mean 'energy_j'"),
        ({"objectives": {"energy_j": "minimize"}}, "is 'minimize'; give minimise, maximise, or one with a formula"),
        ({"objectives": {"a": {"minimise": 3}}}, "give minimise, maximise, or one with a formula"),
        ({"objectives": {"a": {"minimise": "x", "maximise": "y"}}}, "give minimise, maximise, or one with"),
        ({"objectives": {"a": {"minimise": "energy_j * rows"}}}, "unknown name 'rows'"),
        ({"objectives": {"a": {"minimise": "energy_j < 2"}}}, "is a truth; expected a number"),
        ({"objectives": {"a": {"minimise": "1 + 1"}}}, "reads no name"),
        ({"objectives": {"energy_j": {"minimise": "latency_s"}}}, "a formula and something else's name too"),
        (
            {"objectives": {"a": {"minimise": "hardware.array.rows"}}},
            "reads axis 'hardware.array.rows', which is not active everywhere",
        ),
        ({"objectives": {}}, "objectives"),
        ({"space__constraints": ["hardware.array.rows > 99", "chip == 'eyeriss'"]}, "none of the 34 points"),
        (
            {
                "space__constraints": ["hardware.array.rows > 99", "chip == 'eyeriss'"],
                "method": {"kind": "nsga2"},
            },
            "only 0 of 1 points were found",
        ),
        ({"software": {"kind": "trained"}}, "unknown kind of software side 'trained'"),
        ({"software": {}}, "software.kind is None"),
        ({"software__networks": {"net": "gone.yaml"}}, "gone.yaml"),
        ({"method": {"kind": "annealing"}}, "method.kind: expected 'screen', 'random'"),
        ({"method": {"population": 1}}, "method.population"),
        ({"schema": "neuro.study/2"}, "schema 'neuro.study/2'; expected a study of schema 'neuro.study/1'"),
        ({"name": "../up"}, "name"),
        ({"extra": 1}, "extra"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_made(
    write: Write, tmp_path: Path, entries: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        opened(write(**entries), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_study_without_a_chip_is_refused(write: Write, tmp_path: Path) -> None:
    file = write(space={"axes": {"software.timesteps": {"choices": [2, 4]}}})
    with pytest.raises(InputError, match="names no chip"):
        opened(file, tmp_path / "out")


def test_a_study_that_is_there_is_only_resumed_on_demand_and_as_it_was(write: Write, tmp_path: Path) -> None:
    opened(write(), tmp_path / "out").store.close()
    study = opened(write(), tmp_path / "out")  # nothing is in it yet
    with study.store:
        run(study)
    with pytest.raises(InputError, match="holds a study already; give --resume"):
        opened(write(), tmp_path / "out")
    for entries, words in (
        ({"objectives": {"energy_j": "minimise"}}, "objectives.latency_s is gone"),
        ({"method": {"seed": 5}}, "method.seed was 0 and is 5"),
        ({"space__axes__chip": {"choices": ["eyeriss"]}}, "axis 'chip' was"),
        ({"space__constraints": []}, r"constraint 'hardware.array.rows \* hardware.array.cols <= 128' is gone"),
        ({"objectives": {"latency_s": "minimise", "energy_j": "minimise"}}, "come in another order"),
    ):
        with pytest.raises(InputError, match=words):
            opened(write(**entries), tmp_path / "out", resume=True)
    opened(write(), tmp_path / "out", resume=True).store.close()


def test_settings_take_the_place_of_the_file(write: Write) -> None:
    document = read_study(write(), {"method.kind": "random", "method.seed": 3, "title": "Arrays"})
    assert (document.method.kind, document.method.seed, document.title) == ("random", 3, "Arrays")
    assert document.method.population == 50
    with pytest.raises(InputError, match=r"method\.sed"):
        read_study(write(), {"method.sed": 3})
    with pytest.raises(InputError, match="name is 'array'; set name as a whole"):
        read_study(write(), {"name.first": 3})


def study_of(folder: Path, evaluate: Any, method: dict[str, Any], space: Space | None = None) -> Study:
    """A study of `zdt1`, past the checks that want chips and networks."""
    space = space or unit_cube(3, "software.x")
    document = StudyDocument.model_validate(
        {
            "name": "zdt",
            "software": {"kind": "given"},
            "space": space.to_document(),
            "objectives": TWO,
            "method": method,
        }
    )
    folder.mkdir(exist_ok=True)
    path = folder / POINTS
    store = Store.open(path) if path.exists() else Store.create(path, document.to_document(), space, TWO)
    return Study(document, folder, store, evaluate)


DRIVER = """\
import sys
from pathlib import Path
from study_problems import Logged
from test_study_running import study_of
from hardware_models.studies.study import run

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    study = study_of(folder, Logged(folder / "log", pause=0.01), eval(sys.argv[2]))
    run(study, sys.argv[3], lambda done: print(study.store.counts()["done"], flush=True))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_search_lost_nothing_that_it_reported(tmp_path: Path, workers: str) -> None:
    method = {"kind": "nsga2", "evaluations": 64, "population": 8}
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, script, tmp_path, str(method), workers],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
    )
    assert driver.stdout is not None
    reported = [int(driver.stdout.readline()) for _ in range(3)][-1]
    time.sleep(0.03)
    driver.kill()
    driver.wait()
    time.sleep(0.3)  # a worker that was at a point ends
    before = logged(tmp_path / "log")
    study = study_of(tmp_path, Logged(tmp_path / "log"), method)
    with study.store as store:
        kept = {key.hex() for key in store.keys()}  # noqa: SIM118 (no mapping)
        assert len(kept) >= reported == 24
        run(study)
        assert store.counts()["done"] == 64
        found = store.read(Filter(STATES)).points.keys()
    evaluated = logged(tmp_path / "log")
    again = [key for key in evaluated[len(before) :] if key in kept]
    assert again == []
    whole = study_of(tmp_path / "whole", zdt1, method)
    with whole.store as store:
        run(whole)
        assert store.keys() == set(found)


def test_failed_points_get_another_chance(tmp_path: Path) -> None:
    space = Space.from_document({"axes": {"software.x0": {"choices": [0.0, 0.5]}, "software.x1": {"choices": [0.0]}}})
    evaluate = Logged(tmp_path / "log", faulty=0.5, marks=tmp_path)
    with study_of(tmp_path, evaluate, {"kind": "screen"}, space).store as store:
        study = study_of(tmp_path, evaluate, {"kind": "screen"}, space)
        run(study)
        assert store.counts() == {"done": 1, "infeasible": 0, "failed": 1}
        run(study)
        assert store.counts() == {"done": 2, "infeasible": 0, "failed": 0}
        study.store.close()


def test_a_full_disk_ends_the_run_and_keeps_the_study(tmp_path: Path) -> None:
    study = study_of(tmp_path, zdt1, {"kind": "random", "evaluations": 20_000, "population": 1000})
    study.store._connection.execute("PRAGMA max_page_count = 300")
    with study.store, pytest.raises(RunError, match="free space"):
        run(study)
    with Store.open(tmp_path / POINTS, write=False) as store:
        assert len(store.read()) % 1000 == 0
    with sqlite3.connect(tmp_path / POINTS) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


TERMS = {"rows": Term("number"), "energy_j": Term("number"), "chip": Term("text", ("a",))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rows * energy_j", [2.0, 12.0]),
        ("rows ** 2 + 1", [5.0, 17.0]),
        ("max(rows, 3) - abs(-energy_j)", [2.0, 1.0]),
        ("1 / (rows - 2)", [np.nan, 0.5]),
        ("(rows - 3) ** 0.5", [np.nan, 1.0]),
    ],
)
def test_formulas_by_hand(text: str, expected: list[float]) -> None:
    columns = {"rows": np.array([2, 4]), "energy_j": np.array([1.0, 3.0])}
    np.testing.assert_array_equal(read_quantity(text, TERMS)(columns), expected)


@pytest.mark.parametrize("text", ["chip", "rows < 2", "rows +", "3", "rows if rows else 2", "volts * 2"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_quantity(text, TERMS)


SIZES = Space.from_document({"axes": {"rows": {"choices": [2, 4]}, "chip": {"choices": ["a", "b"]}}})


def banded(points: Columns) -> Any:
    found = results(points, {"energy_j": points.values["rows"] * 1.0})
    _, low, high = found.objectives["energy_j"]
    low -= 1
    high += 2
    return found


def test_the_band_of_a_formula_holds_its_three_values() -> None:
    formulas = {"gain": "10 / energy_j", "both": "gain + rows", "gap": "1 / (energy_j - 4)"}
    objectives = Objectives(("energy_j", "gain", "both"), {k: formulas[k] for k in ("gain", "both")}, SIZES.axes, COSTS)
    assert objectives.evaluated == ["energy_j"]
    sent = pickle.loads(pickle.dumps(WithFormulas(banded, objectives)))  # as to a worker
    found = sent(SIZES.columns([{"rows": 4, "chip": "a"}]))
    assert list(found.objectives) == ["energy_j", "gain", "both"]
    assert found.objectives["gain"][:, 0].tolist() == [10 / 4, 10 / 6, 10 / 3]
    assert found.objectives["both"][:, 0].tolist() == [10 / 4 + 4, 10 / 6 + 4, 10 / 3 + 4]
    silent = Objectives(("gap",), {"gap": formulas["gap"]}, SIZES.axes, COSTS)
    found = WithFormulas(banded, silent)(SIZES.columns([{"rows": 4, "chip": "a"}, {"rows": 2, "chip": "b"}]))
    assert found.state.tolist() == ["infeasible", "infeasible"]  # at its value; at its high end, 4
    assert found.reason[0] == "objective 'gap', '1 / (energy_j - 4)', has no value there."


def test_fronts_compared_by_hand() -> None:
    """Best (0, 0), worst (1, 1), reference 1.1: boxes 1.1 x 0.1 twice, the corner 0.1 x 0.1 shared, of 1.21."""
    one, other = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[1.0, 1.0]])
    mine, yours = compare_fronts(one, other, TWO)
    assert mine.volume == pytest.approx((2 * 0.11 - 0.01) / 1.21)
    assert yours.volume == pytest.approx(0.01 / 1.21)
    assert (mine.points, mine.beaten, yours.points, yours.beaten) == (2, 0, 1, 1)
    turned = compare_fronts(-one, -other, dict.fromkeys(TWO, "maximise"))
    assert turned == (mine, yours)
    assert compare_fronts(one[:1], one[:1], TWO)[0].beaten == 0
    with pytest.raises(InputError, match="without points"):
        compare_fronts(one, np.empty((0, 2)), TWO)
