"""`neuro study` as a user calls it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from commands import Neuro, files

from hardware_models.studies.software import GivenNetworks
from hardware_models.studies.store import Store
from neuro.cli.study_software import SOFTWARE

ROOT = Path(__file__).parents[2]

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
question: Which array is enough?
software: {kind: given, networks: {net: net.yaml}}
space:
  axes:
    chip: {choices: [eyeriss, loihi2]}
    hardware.array.rows: {integer: [4, 16], step: 4, when: "chip == 'eyeriss'"}
    hardware.core.clock: {choices: [1.0e+8, 2.0e+8], when: "chip == 'eyeriss'"}
objectives: {energy_j: minimise, latency_s: minimise}
"""


@pytest.fixture
def study(here: Path) -> Path:
    """The file of a study in the working directory."""
    (here / "net.yaml").write_text(LAYERS)
    (here / "array.yaml").write_text(STUDY)
    return here / "array.yaml"


def test_a_study_is_run_shown_exported_and_listed(study: Path, here: Path, neuro: Neuro) -> None:
    ran = neuro("study", "run", "array.yaml")
    assert (ran.status, ran.out) == (0, "9 done: studies/array\n")
    assert ran.err == ""  # no progress where nobody watches
    assert files(here / "studies" / "array") == {"study.yaml", "points.study"}
    shown = neuro("study", "show", "array").out
    assert "Which array is enough?" in shown
    assert "9 done; energy_j minimise, latency_s minimise" in shown
    assert neuro("study", "export", "array", "all.csv").out == "9 points: all.csv\n"
    exported = neuro("study", "export", "studies/array", "front.csv", "--front").out
    rows = list(csv.DictReader((here / "front.csv").open()))
    assert exported == f"{len(rows)} points: front.csv\n"
    every = list(csv.DictReader((here / "all.csv").open()))
    for row in rows:
        assert row in every
        assert not any(
            float(one["energy_j"]) < float(row["energy_j"]) and float(one["latency_s"]) < float(row["latency_s"])
            for one in every
        )
    assert f"front: {len(rows)} of 9 points" in shown
    assert "studies/array  9 done" in neuro("study", "list").out


def test_a_front_is_shown_on_narrow_terminals_and_in_part(
    study: Path, neuro: Neuro, monkeypatch: pytest.MonkeyPatch
) -> None:
    neuro("study", "run", "array.yaml")
    for width in (30, 60, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = neuro("study", "show", "array", "--robust", "--limit", 1)
        assert shown.status == 0
        assert max(map(len, shown.out.splitlines())) <= width
        assert "robust front" in shown.out
    assert "show all" in " ".join(shown.out.split()) or "front: 1 of" in shown.out


def test_a_search_is_resumed_where_it_is(study: Path, here: Path, neuro: Neuro) -> None:
    sets = ["--set", "method={kind: nsga2, evaluations: 24, population: 8}", "--set", "method.seed=2"]
    assert neuro("study", "run", "array.yaml", *sets).status == 0
    folder = here / "studies" / "array"
    assert files(folder) == {"study.yaml", "points.study", "points.optuna.log"}
    assert len((folder / "points.optuna.log").read_text().splitlines()) >= 24
    with Store.open(folder / "points.study", write=False) as store:
        assert store.document["method"] == {"kind": "nsga2", "evaluations": 24, "population": 8, "seed": 2}
        found = store.counts()
    assert neuro("study", "run", "studies/array", "--resume").out.startswith(f"{found['done']} done")
    again = neuro("study", "run", "array.yaml", *sets[:2])
    assert (again.status, again.err.count("\n")) == (2, 1)
    assert "holds a study already; give --resume" in again.err
    other = neuro("study", "run", "array.yaml", *sets[:2], "--resume")
    assert other.err == (
        "neuro: studies/array holds another study (method.seed was 2 and is 0); start a new one with --out.\n"
    )


def test_two_studies_are_compared(study: Path, neuro: Neuro) -> None:
    neuro("study", "run", "array.yaml")
    few = "space.axes={chip: {choices: [eyeriss]}, hardware.array.rows: {integer: [4, 4]}}"
    neuro("study", "run", "array.yaml", "--out", "few", "--set", few)
    lines = neuro("study", "compare", "array", "few").out.splitlines()
    shares = [float(line.split("hypervolume ")[1].split(",")[0]) for line in lines[:2]]
    assert shares[0] >= shares[1] > 0
    assert "0 of them dominated by few" in lines[0]
    neuro("study", "run", "array.yaml", "--out", "one", "--set", "objectives={energy_j: minimise}")
    assert "compare studies of the same ones" in neuro("study", "compare", "array", "one").err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "aray"], "unknown study 'aray'"),
        (["run", "gone.yaml"], "gone.yaml cannot be read"),
        (["run", "array.yaml", "--workers", "many"], "workers were 'many'; give their number"),
        (["run", "array.yaml", "--workers", "ray://nowhere"], "ay"),
        (["run", "array.yaml", "--set", "method.kind"], "write --set key=value"),
        (["run", "array.yaml", "--set", "method.kind=[1"], "is not a YAML value"),
        (["run", "array.yaml", "--set", "method.kid=screen"], "unknown key 'kid'; did you mean 'kind'"),
        (["run", "array.yaml", "--set", "software.kind=guessed"], "unknown kind of software side 'guessed'"),
        (["run", "array.yaml", "--worker", "2"], "unknown argument '--worker'; did you mean '--workers'"),
        (["run"], "required: NAME|FILE|DIR; see neuro study run --help"),
        (["walk"], "invalid choice: 'walk'"),
        ([], "required: ACTION; see neuro study --help"),
        (["show", "array"], "array is no file; give the file of a study"),
        (["show", "array.yaml"], "array.yaml is no study"),
        (["export", "array.yaml", "x.csv"], "array.yaml is no study"),
    ],
)
def test_bad_requests_are_told_in_one_sentence(study: Path, neuro: Neuro, arguments: list[str], sentence: str) -> None:
    told = neuro("study", *arguments)
    assert (told.status, told.out) == (2, "")
    assert told.err.startswith("neuro: ")
    assert told.err.count("\n") == 1
    assert sentence in told.err


def test_what_cannot_be_shown_is_refused(study: Path, neuro: Neuro) -> None:
    neuro("study", "run", "array.yaml", "--set", "software.networks={a: net.yaml, b: net.yaml}")  # which of them?
    told = neuro("study", "show", "array")
    assert told.status == 2
    assert "holds no point that is done" in told.err
    assert "--limit was 0; give at least 1" in neuro("study", "show", "array", "--limit", 0).err
    assert "ends in '.txt'" in neuro("study", "export", "array", "x.txt").err


def test_a_kind_of_software_side_is_found_by_its_dotted_name(
    study: Path, neuro: Neuro, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class Remembered(GivenNetworks):
        @classmethod
        def from_document(cls, document: Any, folder: Path) -> Any:
            made.append((document["kind"], folder))
            return super().from_document(document, folder)

    module = ModuleType("some_networks")
    module.Remembered = Remembered  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_networks", module)
    monkeypatch.setitem(SOFTWARE, "remembered", "some_networks:Remembered.from_document")
    assert neuro("study", "run", "array.yaml", "--set", "software.kind=remembered").status == 0
    assert made == [("remembered", study.parent)]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_an_interrupted_study_says_how_to_go_on(study: Path, here: Path) -> None:
    method = "method={kind: nsga2, evaluations: 1000000, population: 10}"
    rate = "space.axes={chip: {choices: [eyeriss]}, software.rate: {real: [0.01, 0.2]}}"
    process = subprocess.Popen(
        [sys.executable, "-m", "neuro", "study", "run", "array.yaml", "--set", method, "--set", rate],
        cwd=here,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    journal = here / "studies" / "array" / "points.optuna.log"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 30) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == (
        "neuro: interrupted; what was found is kept, continue with: neuro study run studies/array --resume.\n"
    )
    trials = [line for line in map(json.loads, journal.read_text().splitlines()) if line["op_code"] == 4]
    with Store.open(here / "studies" / "array" / "points.study", write=False) as store:
        assert sum(store.counts().values()) >= len(trials) - 10


def test_torch_is_not_waited_for() -> None:
    code = "import sys, neuro.cli.study; assert not {'torch', 'optuna', 'ray'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
