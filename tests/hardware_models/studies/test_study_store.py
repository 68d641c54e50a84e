"""The file of a study: what was added is there, once, after a crash, on a full disk, and while others read."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError, RunError
from hardware_models.studies import export as export_module
from hardware_models.studies.columns import Columns
from hardware_models.studies.export import export
from hardware_models.studies.filters import Filter
from hardware_models.studies.results import Results
from hardware_models.studies.space import Space
from hardware_models.studies.store import Store

SPACE = Space.from_document(
    {
        "axes": {
            "chip": {"choices": ["eyeriss", "tpu_like"]},
            "sparse": {"choices": [True, False]},
            "array.rows": {"integer": [1, 500]},
            "clock": {"real": [1e8, 1e9], "points": 2},
            "buffer.size": {"choices": [65536, 131072], "when": "chip == 'eyeriss'"},
        }
    }
)
OBJECTIVES: Any = {"energy": "minimise", "accuracy": "maximise"}
EVERY = Filter(("done", "infeasible", "failed"))


def results_of(points: Columns, state: str = "done", reason: str = "", energy: float = 1.0) -> Results:
    count = len(points)
    band = np.outer([1.0, 0.5, 2.0], energy + np.arange(count))
    unknown = np.full((3, count), np.nan)
    values = {"energy": band, "accuracy": band / 1000} if state == "done" else dict.fromkeys(OBJECTIVES, unknown)
    text = {name: np.full(count, entry, dtype=object) for name, entry in (("state", state), ("reason", reason))}
    return Results(points, values, **text, seconds=np.arange(count) / 8, worker=np.full(count, "w1", dtype=object))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.create(path, {"title": "a study", "seeds": [1, 2]}, SPACE, OBJECTIVES) as made:
        yield made


def same(one: Results, other: Results) -> bool:
    arrays = [("state", "reason", "seconds", "worker")]
    return (
        one.points.keys() == other.points.keys()
        and all((getattr(one, name) == getattr(other, name)).all() for names in arrays for name in names)
        and all(np.array_equal(one.objectives[name], other.objectives[name], equal_nan=True) for name in OBJECTIVES)
    )


def test_what_was_added_comes_back_when_the_file_is_opened_again(store: Store, path: Path) -> None:
    done, failed = SPACE.grid(0, 900), SPACE.grid(2990, 3000)
    assert store.add(results_of(done)) == 900
    assert store.add(results_of(failed, "failed", "out of memory")) == 10
    store.close()
    with Store.open(path, SPACE, write=False) as again:
        assert again.document == {"title": "a study", "seeds": [1, 2]}
        assert (again.space, again.objectives) == (SPACE, OBJECTIVES)
        assert same(again.read(), results_of(done))
        assert same(again.read(Filter(("failed",))), results_of(failed, "failed", "out of memory"))
        assert len(again.read(EVERY)) == 910
        assert again.counts() == {"done": 900, "infeasible": 0, "failed": 10}
        assert again.keys() == set(done.keys()) | set(failed.keys())
        assert again.keys(["failed"]) == set(failed.keys())
        read = again.read().points
        assert [read.point(index) for index in range(900)] == [done.point(index) for index in range(900)]
        assert {name: array.dtype for name, array in read.values.items()} == {
            name: array.dtype for name, array in done.values.items()
        }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seeds=st.lists(st.integers(0, 3), min_size=1, max_size=4), count=st.integers(1, 40))
def test_no_point_stands_twice(tmp_path_factory: pytest.TempPathFactory, seeds: list[int], count: int) -> None:
    path = tmp_path_factory.mktemp("twice") / "study"
    known: set[bytes] = set()
    with Store.create(path, {}, SPACE, OBJECTIVES) as store:
        for seed in seeds:
            points = SPACE.sample(count, seed)
            new = set(points.keys()) - known
            assert store.add(results_of(points)) == len(new)
            known |= new
        assert store.keys() == known
        assert len(store.read()) == len(known)


def test_a_known_point_stays_unless_it_had_failed(store: Store) -> None:
    points = SPACE.grid(0, 4)
    store.add(results_of(points.take([0, 1]), "failed", "out of memory"))
    store.add(results_of(points.take([2]), "infeasible", "area above 4 mm2"))
    assert store.add(results_of(points, energy=7.0)) == 3
    assert store.add(results_of(points, energy=9.0)) == 0
    assert store.read().objectives["energy"][0].tolist() == [7.0, 8.0, 10.0]
    assert store.read(Filter(("infeasible",))).reason.tolist() == ["area above 4 mm2"]


def test_two_writers_share_a_file(store: Store, path: Path) -> None:
    with Store.open(path) as other:
        assert store.add(results_of(SPACE.grid(0, 20))) == 20
        assert other.add(results_of(SPACE.grid(10, 30))) == 10
        assert store.add(results_of(SPACE.grid(0, 40))) == 10
        assert other.keys() == set(SPACE.grid(0, 40).keys())


def test_values_of_every_kind_can_be_missing(tmp_path: Path) -> None:
    kinds = {"t": ["a", "b"], "b": [True, False], "i": [3, 4], "r": [0.5, 1.5]}
    axes = {name: {"choices": values, "when": "on"} for name, values in kinds.items()}
    space = Space.from_document({"axes": {"on": {"choices": [False, True]}, **axes}})
    grid = space.grid(0, space.size())
    assert len(grid) == 1 + 2**4
    with Store.create(tmp_path / "study", {}, space, OBJECTIVES) as store:
        store.add(results_of(grid))
        read = store.read().points
    assert [read.point(index) for index in range(17)] == [grid.point(index) for index in range(17)]
    assert read.point(0) == {"on": False, "t": None, "b": None, "i": None, "r": None}
    assert read.keys() == grid.keys()


def test_masks_come_from_the_space(store: Store) -> None:
    point = {"chip": "tpu_like", "sparse": True, "array.rows": 3, "clock": 2e8}
    bare = Columns({**SPACE.columns([point]).values, "buffer.size": np.array([131072])})
    assert store.add(results_of(bare)) == 1
    assert store.add(results_of(SPACE.columns([point]))) == 0
    assert store.read().points.point(0) == {**point, "buffer.size": None}


@pytest.mark.parametrize(
    ("which", "kept"),
    [
        (Filter(among={"chip": ["tpu_like"]}), lambda p: p["chip"] == "tpu_like"),
        (Filter(among={"array.rows": np.arange(3, 9)}), lambda p: 3 <= p["array.rows"] < 9),
        (Filter(among={"chip": ["eyeriss"], "sparse": [True]}), lambda p: p["chip"] == "eyeriss" and p["sparse"]),
        (Filter(within={"array.rows": (10, 20)}), lambda p: 10 <= p["array.rows"] <= 20),
        (Filter(within={"clock": (None, 1e8)}), lambda p: p["clock"] == 1e8),
        (Filter(among={"buffer.size": [65536]}), lambda p: p["buffer.size"] == 65536),
        (Filter(within={"energy_low": (None, 20.0)}), lambda p: p["at"] <= 40),
        (Filter(states=()), lambda p: False),
    ],
)
def test_filters(store: Store, which: Filter, kept: Any) -> None:
    grid = SPACE.grid(0, SPACE.size())
    store.add(results_of(grid))
    expected = [index for index in range(len(grid)) if kept({**grid.point(index), "at": index + 1})]
    found = store.read(which)
    assert found.points.keys() == grid.take(expected).keys()
    assert len(found) == len(expected)


def test_wrong_filters_are_refused(store: Store) -> None:
    for which, sentence in [
        (Filter(("finished",)), "unknown state 'finished'"),  # type: ignore[arg-type]
        (Filter(among={"ship": [1]}), "unknown column of the study 'ship'; did you mean 'chip'"),
        (Filter(among={"chip": [1]}), "column 'chip' holds TEXT and never 1"),
        (Filter(among={"clock": [None]}), "column 'clock' holds REAL and never None"),
        (Filter(within={"clock": ("1e8", None)}), "never '1e8'"),  # type: ignore[dict-item]
    ]:
        with pytest.raises(InputError, match=sentence):
            store.read(which)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_study_store import SPACE, Store, results_of
store = Store.open(Path(sys.argv[1]))
for start in range(0, SPACE.size(), 10):
    store.add(results_of(SPACE.grid(start, start + 10)))
    print(start + 10, flush=True)
"""


def test_what_was_added_survives_a_kill_while_others_read(store: Store, path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)]
    said = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said = int(line)
            assert len(store.read()) >= said  # a reader beside the writer
            if said >= 150:
                os.kill(process.pid, signal.SIGKILL)
                break
        said = max([said, *(int(line) for line in process.stdout if line.endswith("\n"))])
    assert process.returncode == -signal.SIGKILL
    with Store.open(path) as again:
        found = again.read()
        assert len(found) >= said >= 150
        assert len(found) % 10 == 0  # no half batch
        assert found.points.keys() == SPACE.grid(0, len(found)).keys()
        assert again.add(results_of(SPACE.grid(0, len(found) + 10))) == 10
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_leaves_what_was_there(store: Store, path: Path) -> None:
    store.add(results_of(SPACE.grid(0, 100)))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(RunError, match=r"study\.sqlite: database or disk is full; free space"):
        store.add(results_of(SPACE.grid(100, 3000)))
    with Store.open(path, write=False) as reader:
        assert same(reader.read(), results_of(SPACE.grid(0, 100)))
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.add(results_of(SPACE.grid(100, 3000))) == 2900


def test_blocks_of_rows_end_where_reading_began(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware_models.studies.store.BLOCK", 30)
    store.add(results_of(SPACE.grid(0, 100)))
    lengths = []
    for index, block in enumerate(store.rows()):
        lengths.append(len(block))
        store.add(results_of(SPACE.grid(1000 + 50 * index, 1050 + 50 * index)))
    assert lengths == [30, 30, 30, 10]


def test_a_reader_cannot_write(store: Store, path: Path) -> None:
    with Store.open(path, write=False) as reader, pytest.raises(RunError, match="readonly"):
        reader.add(results_of(SPACE.grid(0, 1)))


def test_another_space_is_told_apart(store: Store, path: Path) -> None:
    axes = {**SPACE.to_document()["axes"], "clock": {"choices": [1.0]}}
    with pytest.raises(InputError, match=r"a study of another space .*axis 'clock' was .* start a new one"):
        Store.open(path, Space.from_document({"axes": axes}))


def test_no_study_is_refused_by_name(path: Path, tmp_path: Path, store: Store) -> None:
    text, other, missing, newer = (tmp_path / name for name in ("text", "other", "missing", "newer"))
    text.write_text("no database " * 100)
    sqlite3.connect(other).execute("CREATE TABLE study (schema)").connection.close()
    (tmp_path / "empty").touch()
    for file, sentence in [
        (text, "text is no study .file is not a database"),
        (other, "other is no study; give"),
        (tmp_path / "empty", "empty is no study; give"),
        (missing, "missing is no file"),
        (tmp_path, "is no file"),
    ]:
        with pytest.raises(InputError, match=sentence):
            Store.open(file)
    assert not missing.exists()
    store._connection.execute("UPDATE study SET schema = 'neuro.study/2'")
    store.close()
    path.rename(newer)
    with pytest.raises(InputError, match=r"newer is a study of schema 'neuro.study/2'; expected 'neuro.study/1'"):
        Store.open(newer)


def test_a_damaged_description_is_refused(path: Path, store: Store) -> None:
    store._connection.execute("UPDATE study SET space = '{'")
    with pytest.raises(InputError, match="damaged study"):
        Store.open(path)
    store._connection.execute("UPDATE study SET space = '{}', objectives = '{\"energy\": \"less\"}'")
    with pytest.raises(InputError, match="damaged study"):
        Store.open(path)


def test_a_study_is_made_whole_or_not_at_all(path: Path, store: Store) -> None:
    with pytest.raises(InputError, match=r"study\.sqlite exists; open it"):
        Store.create(path, {}, SPACE, OBJECTIVES)
    assert store.document["title"] == "a study"
    assert [file.name for file in path.parent.iterdir() if not file.name.startswith("study.sqlite")] == []
    with pytest.raises(RunError, match="could not write"):
        Store.create(path.parent / "no folder" / "study", {}, SPACE, OBJECTIVES)
    clash = Space.from_document({"axes": {"Energy": {"choices": [1]}}})
    for document, space, objectives, sentence in [
        ({"a": {1, 2}}, SPACE, OBJECTIVES, "no plain data"),
        ({"a": float("nan")}, SPACE, OBJECTIVES, "no plain data"),
        ({}, SPACE, {}, "no objectives"),
        ({}, SPACE, {"energy": "less"}, "unknown sense"),
        ({}, SPACE, {"seconds": "minimise"}, "two columns .* called 'seconds'"),
        ({}, clash, {"energy": "minimise"}, "two columns .* called 'energy'"),
        ({}, SPACE, {"energy": "minimise", "energy_low": "minimise"}, "called 'energy_low'"),
    ]:
        with pytest.raises(InputError, match=sentence):
            Store.create(path.parent / "new", document, space, objectives)
    assert not (path.parent / "new").exists()


def test_names_cannot_break_out_of_their_column(tmp_path: Path) -> None:
    name = 'energy"); DROP TABLE points; --'
    with Store.create(tmp_path / "study", {}, SPACE, {name: "minimise"}) as store:
        results = results_of(SPACE.grid(0, 3))
        store.add(Results(results.points, {name: results.objectives["energy"]}, results.state, results.reason,
                          results.seconds, results.worker))  # fmt: skip
        assert len(store.read(Filter(within={name: (2.0, None)}))) == 2


def test_wrong_results_are_refused(store: Store) -> None:
    points = SPACE.grid(0, 2)
    good = results_of(points)

    def with_(**changes: Any) -> Results:
        return Results(**{**vars(good), **changes})

    band = good.objectives["energy"]
    for changes, sentence in [
        ({"state": np.array(["done", "over"], dtype=object)}, "unknown state 'over'"),
        ({"state": np.array(["done"], dtype=object)}, "state has shape"),
        ({"reason": np.array(["", "why"], dtype=object)}, "a done point has a reason"),
        ({"state": np.array(["done", "failed"], dtype=object)}, "another has none"),
        ({"seconds": np.array([1.0, -1.0])}, "below 0"),
        ({"objectives": {"energy": band[:2]}}, r"expected \[3, 2\]"),
        ({"objectives": {"energy": band * np.nan}}, "point 0 is nan"),
        ({"objectives": {"energy": band[[1, 0, 2]]}}, "point 0 is 0.5 with band 1 to 2"),
        ({"objectives": {"energy": np.where(band == 2, np.nan, band)}}, "finite number inside its band"),
    ]:
        with pytest.raises(InputError, match=sentence):
            with_(**changes)
    with pytest.raises(InputError, match="results have objectives"):
        store.add(with_(objectives={"energy": band}))
    with pytest.raises(InputError, match=r"axis 'array.rows' cannot be 501"):
        store.add(with_(points=Columns({**points.values, "array.rows": np.array([1, 501])})))
    assert store.counts()["done"] == 0


def test_csv_holds_what_python_reads(store: Store, tmp_path: Path) -> None:
    points = SPACE.grid(0, 1500)
    store.add(results_of(points))
    store.add(results_of(SPACE.grid(1500, 1502), "infeasible", 'a "limit", of 4 mm2'))
    out = tmp_path / "points.csv"
    assert export(store, out) == 1502
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == [
        *["chip", "sparse", "array.rows", "clock", "buffer.size", "energy", "energy_low", "energy_high"],
        *["accuracy", "accuracy_low", "accuracy_high", "state", "reason", "seconds", "worker"],
    ]
    read = store.read()
    assert [float(line["energy_high"]) for line in lines[:1500]] == read.objectives["energy"][2].tolist()
    assert [line["buffer.size"] for line in lines[:1500]] == [
        str(points.point(index)["buffer.size"] or "") for index in range(1500)
    ]
    assert (lines[-1]["reason"], lines[-1]["energy"]) == ('a "limit", of 4 mm2', "")
    assert export(store, out, Filter(among={"chip": ["tpu_like"]})) == sum(points.values["chip"] == "tpu_like")
    with pytest.raises(InputError, match=r"ends in '.txt'; expected one of .csv, .parquet"):
        export(store, tmp_path / "points.txt")


def test_parquet_says_what_it_needs(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(export_module.importlib, "import_module", missing)
    with pytest.raises(InputError, match="Parquet needs pyarrow"):
        export(store, tmp_path / "points.parquet")
    assert not (tmp_path / "points.parquet").exists()


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_parquet_holds_what_was_added(store: Store, tmp_path: Path) -> None:
    parquet: Any = importlib.import_module("pyarrow.parquet")
    points = SPACE.grid(0, 1500)
    store.add(results_of(points))
    assert export(store, tmp_path / "points.parquet") == 1500
    table = parquet.read_table(tmp_path / "points.parquet").to_pydict()
    assert table["buffer.size"] == [points.point(index)["buffer.size"] for index in range(1500)]
    assert table["energy"] == store.read().objectives["energy"][0].tolist()
    assert json.loads(json.dumps(table["chip"])) == points.values["chip"].tolist()
