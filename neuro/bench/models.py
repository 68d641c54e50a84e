"""Meta-SpikeFormer 15m, 224x224, T = 4, as a whole: inference on a CPU, a training step on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from neuro.bench import peers
from neuro.bench.case import Case, Contender, Work
from neuro.bench.setting import Setting
from neuro.models import architecture, create_model, for_inference
from neuro.models.attention import NeuronFactory
from neuro.models.neurons import neuron_factory

VARIANT, SIZE, TIMESTEPS = "15m", 224, 4
GPU_BATCH = 32

COMPILING = "torch.compile of the whole network with SpikingJelly's neurons comes next: some minutes, 3 GB of memory."


def cases(setting: Setting) -> Iterator[Case]:
    """The network against the same network with SpikingJelly's neurons, eager and under torch.compile."""
    yield _training(setting) if setting.is_gpu else _inference(setting)


def network(
    setting: Setting, make_neuron: NeuronFactory, variant: str = VARIANT, size: int = SIZE
) -> tuple[nn.Module, Tensor]:
    """Return a network whose BatchNorms know their input, the same weights for any neuron, and one image."""
    torch.manual_seed(0)
    overrides = {"initial_gain": 2.0}
    made = create_model(
        "spikeformer_v2", variant, make_neuron=make_neuron, timesteps=TIMESTEPS, overrides=overrides
    ).to(setting.device)
    channels = architecture("spikeformer_v2").variant(variant).config.get("in_channels", 3)
    image = torch.randn(1, channels, size, size, device=setting.device)
    norms = [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    for bn in norms:
        bn.momentum = 1.0
    with torch.no_grad():
        made.train()(image)
    for bn in norms:
        bn.momentum = 0.1
    return made, image


def _inference(setting: Setting) -> Case:
    ours, image = network(setting, neuron_factory("lif"))
    reason = peers.missing("spikingjelly")
    eager = compiled = None
    if not reason:
        theirs = network(setting, peers.spikingjelly_lif)[0].eval()
        eager, compiled = _inferred(theirs, image), _inferred(torch.compile(theirs), image)
        setting.say(COMPILING)
    return Case(f"Meta-SpikeFormer {VARIANT} inference, batch 1", _inferred(for_inference(ours), image), [
        Contender("SpikingJelly's neurons, eager", eager, reason, goal=1.8),
        Contender("SpikingJelly's neurons, torch.compile", compiled, reason, goal=1.2),
    ])  # fmt: skip


def _training(setting: Setting) -> Case:
    ours, _ = network(setting, neuron_factory("lif"))
    images = torch.randn(GPU_BATCH, 3, SIZE, SIZE, device=setting.device)
    setting.say(f"Training steps at batch {GPU_BATCH} come next: up to 40 GB of GPU memory.")
    reason = peers.missing("spikingjelly")
    eager = compiled = None
    if not reason:
        theirs, _ = network(setting, peers.spikingjelly_lif)
        eager, compiled = _trained(theirs, theirs, images), _trained(theirs, torch.compile(theirs), images)
        setting.say(COMPILING)
    return Case(f"Meta-SpikeFormer {VARIANT} training step, batch {GPU_BATCH}, bf16", _trained(ours, ours, images), [
        Contender("SpikingJelly's neurons, eager", eager, reason, goal=2.0),
        Contender("SpikingJelly's neurons, torch.compile", compiled, reason, goal=1.4),
    ])  # fmt: skip


def _inferred(model: Callable[[Tensor], Tensor], image: Tensor) -> Work:
    def work() -> None:
        with torch.no_grad():
            model(image)

    return work


def _trained(model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor) -> Work:
    labels = torch.arange(len(images), device=images.device)
    model.train()

    def work() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = nn.functional.cross_entropy(forward(images), labels)
        loss.backward()

    return work
