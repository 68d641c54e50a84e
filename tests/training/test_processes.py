"""Two processes train as one does: replicated and sharded, killed and started again, and on another number of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import fully_shard
from toys import spiking_network, stripes

from hardware_models.errors import InputError
from neuro.training import TrainingSettings, train
from neuro.training.average import Average
from neuro.training.parallel import Processes, processes_of_torchrun
from neuro.training.sharded_checkpoint import load_sharded, save_sharded
from neuro.training.synchronised_norm import restore, synchronise

ROOT = Path(__file__).parents[2]
DOCUMENT = """\
schema: neuro.training/1
model: {name: spikeformer_v2, variant: tiny, timesteps: 2, surrogate_alpha: 2.0,
        overrides: {widths: [8, 8, 8, 8]}}
data: {name: digits, train_limit: 640, test_limit: 50}
training: {epochs: 1, batch_size: 32, learning_rate: 5.0e-4, warmup_epochs: 1, log_every: 1}
"""


def neuro_train(folder: Path, *arguments: str, processes: int = 1, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `neuro train` on so many processes."""
    document = folder.parent / "document.yaml"
    document.write_text(DOCUMENT)
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        launcher += ["--max-restarts", more.pop("restarts", "0"), "-m"]
    command = [*launcher, "neuro", "train", "--config", str(document), "--out", str(folder), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def losses(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if entry["event"] == "step"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = neuro_train(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicated", "sharded"])
def test_two_processes_have_the_losses_of_one(alone: Path, tmp_path: Path, parallel: str) -> None:
    done = neuro_train(tmp_path / "run", "--parallel", parallel, processes=2)
    assert done.returncode == 0, done.stderr
    found, expected = losses(tmp_path / "run"), losses(alone)
    assert len(found) == 20
    assert found == pytest.approx(expected, abs=1e-4)
    weights, wanted = (load_file(str(folder / "weights.safetensors")) for folder in (tmp_path / "run", alone))
    assert weights.keys() == wanted.keys()
    assert {name: one.shape for name, one in weights.items()} == {name: one.shape for name, one in wanted.items()}


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicated", "sharded"])
def test_a_killed_worker_is_replaced_and_nothing_is_lost(alone: Path, tmp_path: Path, parallel: str) -> None:
    killer = tmp_path / "sitecustomize.py"
    killer.write_text(_KILLER)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    more = {"PYTHONPATH": path, "KILL_ONCE": str(tmp_path / "killed"), "restarts": "1"}
    arguments = ("--parallel", parallel, "--set", "training.checkpoint_every=5")
    done = neuro_train(tmp_path / "run", *arguments, processes=2, **more)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    by_step = {entry["step"]: entry["loss"] for entry in entries if entry["event"] == "step"}  # the later one counts
    assert list(by_step.values()) == pytest.approx(losses(alone), abs=1e-4)


_KILLER = """
import os, signal, sys
if os.environ.get("RANK") == "1" and not os.path.exists(os.environ["KILL_ONCE"]):
    import threading, time

    def kill():
        import torch.optim
        while "neuro.training.loop" not in sys.modules:
            time.sleep(0.05)
        steps = 0
        while True:
            time.sleep(0.02)
            loop = sys.modules["neuro.training.loop"]
            if hasattr(loop, "_Training") and not hasattr(loop, "watched"):
                loop.watched = True
                step = loop._Training._step

                def counted(self, images, labels, epoch, index, sums):
                    if index == 12:
                        open(os.environ["KILL_ONCE"], "w").close()
                        os.kill(os.getpid(), signal.SIGKILL)
                    return step(self, images, labels, epoch, index, sums)

                loop._Training._step = counted
                return

    threading.Thread(target=kill, daemon=True).start()
"""


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_processes(alone: Path, tmp_path: Path) -> None:
    stopped = neuro_train(
        tmp_path / "run", "--set", "training.checkpoint_every=5", processes=2, **_stop_after(tmp_path)
    )
    assert stopped.returncode != 0
    done = neuro_train(tmp_path / "run", "--resume")
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    by_step = {entry["step"]: entry["loss"] for entry in entries if entry["event"] == "step"}
    assert list(by_step.values()) == pytest.approx(losses(alone), abs=1e-4)


def _stop_after(folder: Path) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(_KILLER)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "KILL_ONCE": str(folder / "killed")}


def _norms(rank: int, port: int, folder: str) -> None:
    """One process's part of a BatchNorm over unequal parts of a batch."""
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo")
    x = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 5
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
    synchronise(model)
    part = (x[:5] if rank == 0 else x[5:]).clone().requires_grad_()
    y = model(part)
    (y.square() * torch.arange(5.0)).sum().backward()
    restore(model)
    torch.save({"y": y.detach(), "x": part.grad, "state": model.state_dict()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_a_synchronised_norm_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    mp.start_processes(_norms, (_free_port(), str(tmp_path)), nprocs=2, start_method="spawn")
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    x = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 5
    x.requires_grad_()
    norm = nn.BatchNorm2d(3, momentum=0.3).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
    y = norm(x)
    (y.square() * torch.arange(5.0)).sum().backward()
    tight = {"rtol": 1e-5, "atol": 1e-5}  # statistics are of single precision
    torch.testing.assert_close(torch.cat([one["y"] for one in found]).double(), y.detach(), **tight)
    torch.testing.assert_close(torch.cat([one["x"] for one in found]), x.grad, rtol=1e-4, atol=1e-3)
    for one in found:
        torch.testing.assert_close(one["state"]["0.running_mean"], norm.running_mean, **tight)
        torch.testing.assert_close(one["state"]["0.running_var"], norm.running_var, **tight)


def test_sharded_is_refused_for_one_process() -> None:
    with (
        pytest.raises(InputError, match="sharded needs several processes; start with torchrun"),
        processes_of_torchrun(torch.device("cpu"), "sharded"),
    ):
        pass


def test_sharded_is_refused_for_one_process_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with (
        pytest.raises(InputError, match="sharded needs several processes"),
        processes_of_torchrun(torch.device("cpu"), "sharded"),
    ):
        pass


@pytest.mark.parametrize(
    ("device", "gpus", "said"),
    [
        ("cuda:1", 4, "device 'cuda:1' is one GPU and 4 processes run here; give --device cuda"),
        ("cuda", 2, "torchrun started 4 processes on a machine with 2 GPUs"),
    ],
)
def test_every_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, said: str) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(InputError, match=said), processes_of_torchrun(torch.device(device)):
        pass


def test_tensors_in_channels_last_order_are_not_sharded() -> None:
    settings = TrainingSettings(channels_last=True)
    with pytest.raises(InputError, match=r"cannot be sharded; set training\.channels_last=false"):
        train(spiking_network(), stripes(64), settings, progress=None, processes=Processes(0, 2, "sharded"))


def _averages(rank: int, port: int, folder: str) -> None:
    """One process's part of an average of a sharded layer, saved and read again."""
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo")
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    nn.init.zeros_(model[0].weight)
    fully_shard(model[0])
    average = Average(model, 0.5)
    with torch.no_grad():
        model[0].weight.add_(1.0)
        model[1].running_mean.add_(2.0)
    average.update()  # the first step keeps 1 / 10
    processes = Processes(rank, 2, "sharded")
    save_sharded(Path(folder) / "kept", 1, average.state_dict(), processes)
    again = Average(model, 0.5)
    again.load_state_dict(load_sharded(Path(folder) / "kept"))
    weight = again.weights["0.weight"].full_tensor()
    torch.save({"weight": weight, "mean": again.weights["1.running_mean"]}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_a_sharded_network_has_an_average_too(tmp_path: Path) -> None:
    mp.start_processes(_averages, (_free_port(), str(tmp_path)), nprocs=2, start_method="spawn")
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found["weight"], torch.full((5, 3), 0.9))
        torch.testing.assert_close(found["mean"], torch.full((5,), 1.8))


@pytest.mark.slow
def test_what_is_wrong_is_said_once(tmp_path: Path) -> None:
    done = neuro_train(tmp_path / "run", "--set", "training.batch_size=0", processes=2)
    assert done.returncode != 0
    assert done.stderr.count("training.batch_size was 0") == 1
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    done = neuro_train(tmp_path / "run", processes=2)
    assert done.stderr.count("already holds files") == 1
    assert "by peer" not in done.stderr


def test_a_sharded_checkpoint_is_what_was_saved(tmp_path: Path) -> None:
    state = {"a": {"w": torch.arange(6.0).view(2, 3), "n": 3}, "b": [torch.tensor(2), None, "x"], "c": {"0": 1.5}}
    save_sharded(tmp_path, 1, state, Processes())
    save_sharded(tmp_path, 2, {**state, "c": {"0": 2.5}}, Processes())
    found = load_sharded(tmp_path)
    assert torch.equal(found["a"]["w"], state["a"]["w"])  # type: ignore[index]
    assert found["b"][0] == 2
    assert found["b"][1:] == [None, "x"]
    assert found["c"] == {"0": 2.5}
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000002"]


@pytest.mark.parametrize("fault", ["part", "state", "latest"])
def test_a_damaged_sharded_checkpoint_is_refused(tmp_path: Path, fault: str) -> None:
    save_sharded(tmp_path, 1, {"w": torch.zeros(3)}, Processes())
    path = {
        "part": tmp_path / "step-00000001" / "part-0-of-1.safetensors",
        "state": tmp_path / "step-00000001" / "state.json",
        "latest": tmp_path / "latest",
    }[fault]
    path.write_bytes(path.read_bytes()[:5])
    with pytest.raises(InputError, match="delete the folder to start this training anew"):
        load_sharded(tmp_path)
