"""QCFS: the staircase, its gradient, and its equality with the spiking network at T = L."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.coding.calibrate import CalibrationWarning, calibrate
from neuro.coding.qcfs import QCFS, qcfs_to_spiking, with_qcfs
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from quant.capture import Captured, capture


def test_the_staircase_by_hand() -> None:
    """lambda = 2, L = 4: steps of 0.5, the first from 0.25 on; clipped at 0 and at 2."""
    x = torch.tensor([-1.0, 0.0, 0.24, 0.25, 0.74, 0.75, 1.9, 5.0])
    assert QCFS(2.0, 4)(x).tolist() == [0, 0, 0, 0.5, 0.5, 1.0, 2.0, 2.0]


def test_the_gradient_goes_through_the_steps_and_stops_at_the_ends() -> None:
    """dh/dx is 1 within (0, lambda) and 0 outside; dh/dlambda is 1 above it, and the rounding error inside."""
    activation, x = QCFS(2.0, 4), torch.tensor([-1.0, 0.6, 5.0], requires_grad=True)
    activation(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([0, 1, 0])
    assert activation.threshold.grad is not None
    assert float(activation.threshold.grad) == pytest.approx((0.25 - 0.3) + 1)


@pytest.mark.parametrize(("threshold", "levels"), [(0.0, 4), (-1.0, 4), (float("nan"), 4), (1.0, 0)])
def test_impossible_staircases_are_refused(threshold: float, levels: int) -> None:
    with pytest.raises(InputError, match="QCFS was given"):
        QCFS(threshold, levels)


@functools.cache
def rectified() -> Captured:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU6(), nn.Flatten(),
        nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip
    return capture(model.eval(), torch.rand(2, 2, 8, 8))


def on_the_grid(levels: int, samples: int = 32) -> Tensor:
    """Inputs that binary spikes send exactly in `levels` timesteps, 0 and 1 among them."""
    pixels = torch.randint(0, levels + 1, (samples, 2, 8, 8), generator=torch.Generator().manual_seed(0)) / levels
    pixels[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    return pixels


def test_every_rectifier_is_replaced_and_the_captured_network_is_left() -> None:
    data = on_the_grid(4)
    quantized = with_qcfs(rectified(), 4, [(data,)])
    stairs = [one for one in quantized.graph.modules() if isinstance(one, QCFS)]
    assert len(stairs) == 3
    assert not any(isinstance(one, QCFS) for one in rectified().graph.modules())
    fine = with_qcfs(rectified(), 4096, [(data,)])
    torch.testing.assert_close(fine.graph(data), rectified().graph(data), rtol=1e-2, atol=1e-2)
    assert (quantized.graph(data) - rectified().graph(data)).norm() > 0.01, "four levels are a difference"


def taught(graph: nn.Module, data: Tensor, labels: Tensor, rate: float) -> list[float]:
    """Train in place; return the losses on the way."""
    optimizer = torch.optim.Adam(graph.parameters(), lr=rate)
    losses = []
    for _ in range(80):
        loss = nn.functional.cross_entropy(graph(data), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def task(levels: int) -> tuple[Tensor, Tensor]:
    """Pictures, and which channel is the darker one."""
    data, labels = on_the_grid(levels, 128), torch.arange(128) % 2
    dark = torch.rand(128, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.2
    data[torch.arange(128), labels] = data[torch.arange(128), labels].masked_fill(dark, 0.0)
    return data, labels


@functools.cache
def knowing(levels: int) -> Captured:
    """A float network that knows the task."""
    data, labels = task(levels)
    graph = copy.deepcopy(rectified().graph)
    taught(graph, data, labels, 3e-3)
    return replace(rectified(), graph=graph)


@functools.cache
def fine_tuned(levels: int) -> tuple[Captured, list[float]]:
    data, labels = task(levels)
    quantized = with_qcfs(knowing(levels), levels, [(data,)])
    return quantized, taught(quantized.graph, data, labels, 1e-3)


def test_training_learns_thresholds_and_t_equal_l_gives_nearly_the_same_network() -> None:
    levels = 8
    (data, labels), (quantized, losses) = task(levels), fine_tuned(levels)
    assert losses[-1] < 0.8 * losses[0]
    thresholds = {n: float(m.threshold) for n, m in quantized.graph.named_modules() if isinstance(m, QCFS)}
    before = with_qcfs(knowing(levels), levels, [(data,)])
    first = {n: float(m.threshold) for n, m in before.graph.named_modules() if isinstance(m, QCFS)}
    assert all(abs(thresholds[name] - first[name]) > 1e-3 for name in first), "thresholds are learned"

    network = qcfs_to_spiking(quantized, levels, [(data,)])
    units = sorted(float(encoder.unit) for encoder in network.encoders().values())
    assert units == pytest.approx(sorted([1.0, *thresholds.values()]), rel=1e-6)
    assert {encoder.spikes for encoder in network.encoders().values()} == {"binary"}
    with torch.no_grad():
        wanted, found = quantized.graph(data), network(data)
    assert (found.argmax(1) == wanted.argmax(1)).float().mean() > 0.95
    assert (found - wanted).norm() / wanted.norm() < 0.2
    assert (found.argmax(1) == labels).float().mean() > 0.9


def test_learned_thresholds_beat_a_conversion_without_training_at_few_timesteps() -> None:
    levels = 4
    (data, labels), (quantized, _) = task(levels), fine_tuned(levels)
    plain = to_spiking(knowing(levels), Scheme("rate", "binary", 1), levels)
    with pytest.warns(CalibrationWarning):
        calibrate(plain, [(data,)])
    learned = qcfs_to_spiking(quantized, levels, [(data,)])
    with torch.no_grad():
        losses = [float(nn.functional.cross_entropy(one(data), labels)) for one in (learned, plain)]
    assert losses[0] < losses[1]


def test_one_layer_is_exactly_equal() -> None:
    """One activation whose input is there at once: nothing changes over the timesteps, so nothing is lost."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.ReLU(), nn.Linear(6, 3)).eval()
    data = torch.rand(20, 6) * 2 - 0.5
    quantized = with_qcfs(capture(model, data[:2]), 5, [(data,)])
    network = qcfs_to_spiking(quantized, 5, [(data,)])
    with torch.no_grad():
        torch.testing.assert_close(network(data), quantized.graph(data), rtol=1e-5, atol=1e-5)


def test_bad_input() -> None:
    data = on_the_grid(4)
    with pytest.raises(InputError, match="no data to set the thresholds"):
        with_qcfs(rectified(), 4, [])
    with pytest.raises(InputError, match="0 levels"):
        with_qcfs(rectified(), 0, [(data,)])
    with pytest.raises(InputError, match="no QCFS activation"):
        qcfs_to_spiking(rectified(), 4, [(data,)])
    smooth = capture(nn.Sequential(nn.Linear(3, 3), nn.GELU()).eval(), torch.rand(2, 3))
    with pytest.raises(InputError, match="no ReLU or ReLU6"):
        with_qcfs(smooth, 4, [(torch.rand(2, 3),)])
    silent = capture(nn.ReLU().eval(), torch.rand(2, 3))
    with pytest.raises(InputError, match="is 0 for all of the data"):
        with_qcfs(silent, 4, [(-torch.rand(2, 3),)])
    quantized = with_qcfs(rectified(), 4, [(data,)])
    for module in quantized.graph.modules():
        if isinstance(module, QCFS):
            module.threshold.data.fill_(-1.0)
    with pytest.raises(InputError, match="learned the threshold -1"):
        qcfs_to_spiking(quantized, 4, [(data,)])
