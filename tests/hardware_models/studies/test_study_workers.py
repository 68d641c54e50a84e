"""Workers: results in order, one that is killed costs its chunk, and none outlives who started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from study_problems import TWO, Logged, logged, unit_cube, zdt1

from hardware_models.errors import InputError, RunError
from hardware_models.studies import chunks as chunks_module
from hardware_models.studies.chunks import Here, InChunks, chunks_of
from hardware_models.studies.columns import Columns
from hardware_models.studies.results import Results
from hardware_models.studies.workers import Processes, workers

ROOT = Path(__file__).parents[3]

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

SPACE = unit_cube(2, "software.x")


def points_of(firsts: list[float]) -> Columns:
    return SPACE.columns([{"software.x0": first, "software.x1": index / 64} for index, first in enumerate(firsts)])


def keep(found: Results) -> None:
    pass


def same(found: Results, points: Columns) -> bool:
    expected = zdt1(points).objectives
    return found.points.keys() == points.keys() and all(
        np.array_equal(found.objectives[name], expected[name]) for name in TWO
    )


def test_points_of_one_network_stay_together() -> None:
    points = Columns(
        {
            "software.network": np.array(["a", "b", "a", "b", "a"], dtype=object),
            "software.bits": np.array([4, 4, 4, 8, 4]),
            "hardware.rows": np.array([1, 2, 3, 4, 5]),
        },
        {"software.bits": np.array([True, True, True, False, False])},
    )
    assert [rows.tolist() for rows in chunks_of(points)] == [[0, 2], [1], [3], [4]]
    assert [rows.tolist() for rows in chunks_of(Columns({"hardware.rows": np.arange(3)}))] == [[0, 1, 2]]


def test_results_come_in_the_order_of_the_points() -> None:
    points = SPACE.columns([{"software.x0": i % 3 / 2, "software.x1": i % 2 / 2} for i in range(12)])
    assert same(InChunks(Here(zdt1), list(TWO), keep)(points), points)


def test_what_was_found_is_saved_while_the_rest_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "SAVED_EVERY_S", 0.0)
    points, saved = points_of([0.1, 0.2, 0.3]), []

    def evaluate(chunk: Columns) -> Results:
        if chunk.values["software.x0"][0] == 0.3:
            raise KeyboardInterrupt
        return zdt1(chunk)

    with pytest.raises(KeyboardInterrupt):
        InChunks(Here(evaluate), list(TWO), saved.append)(points)
    assert [key for found in saved for key in found.points.keys()] == points.keys()[:2]  # noqa: SIM118


def test_a_fault_costs_its_network_alone(tmp_path: Path) -> None:
    points = points_of([0.1, 0.2, 0.3])
    found = InChunks(Here(Logged(tmp_path / "log", faulty=0.2)), list(TWO), keep)(points)
    assert found.state.tolist() == ["done", "failed", "done"]
    assert found.reason.tolist() == ["", "the loss became NaN.", ""]


def test_what_is_no_fault_of_a_run_is_not_hidden() -> None:
    def wrong(points: Columns) -> Results:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        InChunks(Here(wrong), list(TWO), keep)(points_of([0.1]))


@POSIX
def test_killed_processes_cost_their_chunk_which_is_evaluated_again(tmp_path: Path) -> None:
    firsts = [index / 16 for index in range(8)]
    points = points_of(firsts)
    evaluate = Logged(tmp_path / "log", pause=0.02, murderous=firsts[3], marks=tmp_path)
    with workers(2, evaluate) as crew:
        found = InChunks(crew, list(TWO), keep)(points)
    assert (tmp_path / "murder").exists()
    assert same(found, points)
    assert set(found.worker) == {"process 1", "process 2"}
    assert sorted(logged(tmp_path / "log")) == sorted(key.hex() for key in points.keys())  # noqa: SIM118


@POSIX
def test_a_point_that_always_kills_is_given_up(tmp_path: Path) -> None:
    points = points_of([0.1, 0.2])
    with workers(2, Logged(tmp_path / "log", murderous=0.2)) as crew:
        found = InChunks(crew, list(TWO), keep)(points)
    assert found.state.tolist() == ["done", "failed"]
    assert found.reason[1] == "the process that evaluated it was killed 4 times."


@POSIX
def test_an_interrupt_ends_the_workers(tmp_path: Path) -> None:
    crew = Processes(Logged(tmp_path / "log", pause=60), 1)
    (process,) = crew._processes
    running = crew.run([points_of([0.1])])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(running)
    finally:
        signal.signal(signal.SIGALRM, before)
        crew.close()
    assert time.monotonic() - started < 30
    assert not is_running(process._started.result())


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc/self").exists() else True


ORPHANS = """\
import sys
from pathlib import Path
from study_problems import Logged, unit_cube
from hardware_models.studies.workers import Processes

if __name__ == "__main__":
    crew = Processes(Logged(Path(sys.argv[1]), pause=60), 1)
    print(crew._processes[0]._started.result(), flush=True)
    list(crew.run([unit_cube(2).sample(1)]))
"""


@POSIX
def test_workers_end_where_their_parent_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(ORPHANS)
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    driver = subprocess.Popen(
        [sys.executable, script, tmp_path / "log"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 30
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def test_an_evaluation_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be sent to workers"), workers(2, lambda points: zdt1(points)):
        pass


class Unreadable:
    """Cannot be made again in another process."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


def test_a_worker_that_does_not_start_is_told() -> None:
    evaluate: Any = Unreadable()
    with pytest.raises(RunError, match="a worker process did not start"), workers(2, evaluate):
        pass


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "", "1.5", "100000", "rays", "²"])
def test_workers_that_there_are_not(wanted: str) -> None:
    with pytest.raises(InputError, match="give their number, ray, or ray://HOST:PORT"), workers(wanted, zdt1):
        pass


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="Ray, which is not installed"), workers("ray", zdt1):
        pass


@pytest.mark.parametrize("address", ["ray://", "ray://host", "ray://host:port", "ray://host:99999"])
def test_an_address_of_ray_that_is_none(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    with pytest.raises(InputError, match="write ray://HOST:PORT"), workers(address, zdt1):
        pass


def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens here
        address = f"ray://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match="no Ray cluster answers"), workers(address, zdt1):
            pass


class FakeRay:
    """Ray as far as it is used, in this process: a task whose first axis is 0.2 loses its worker for good."""

    class exceptions:  # noqa: N801 (Ray's own name)
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            pass

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.open = False

    def init(self, **settings: Any) -> None:
        self.open = True

    def shutdown(self) -> None:
        self.open = False

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **settings: Any) -> Any:
        self.settings = settings
        return lambda function: SimpleNamespace(remote=lambda *given: Task(function, given))

    def wait(self, tasks: list[Any], num_returns: int) -> Any:
        return tasks[-num_returns:], tasks[:-num_returns]  # the last one first

    def get(self, task: Any) -> Any:
        evaluate, points = task.given
        if points.values["software.x0"][0] == 0.2:
            raise self.exceptions.RayError("worker died")
        return task.function(evaluate, points)


class Task:
    def __init__(self, function: Any, given: Any) -> None:
        self.function, self.given = function, given


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    yield ray
    assert not ray.open


def test_chunks_are_tasks_of_ray(fake_ray: FakeRay) -> None:
    points = points_of([0.1, 0.2, 0.3])
    with workers("ray", zdt1) as crew:
        found = InChunks(crew, list(TWO), keep)(points)
    assert fake_ray.settings == {"max_retries": 3}
    assert found.state.tolist() == ["done", "failed", "done"]
    assert found.reason[1] == "Ray gave it up after 3 retries (worker died)."
    assert found.worker.tolist() == ["ray", "", "ray"]
    expected = zdt1(points).objectives
    assert all(np.array_equal(found.objectives[name][:, [0, 2]], expected[name][:, [0, 2]]) for name in TWO)
