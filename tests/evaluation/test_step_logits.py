"""One pass over a split: what is answered, and what is left of it."""

from __future__ import annotations

import pytest
import torch
from evaluated import CPU, Given, labelled, numbered, spikeformer
from torch import Tensor, nn

from hardware_models.errors import InputError, RunError
from neuro.data.batching import TensorSplit
from neuro.evaluation import TimeFirst, step_logits
from neuro.neurons import LIF, SpikingNeuron

WRITTEN = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[-1.0, 0.0], [0.5, 0.25], [2.0, 1.0]]])


class MeanPixel(nn.Module):
    """Logits (mean, -mean), without those of single timesteps."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((0, 2, 3, 4))
        return torch.stack([mean, -mean], -1)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
def test_logits_of_every_timestep_in_stored_order(batch_size: int) -> None:
    answers = step_logits(Given(WRITTEN), numbered([0, 1, 1]), 2, CPU, batch_size)
    assert torch.equal(answers.logits, WRITTEN)
    assert answers.labels.tolist() == [0, 1, 1]
    assert answers.predictions(1).tolist() == [1, 1, 1]
    assert answers.mean_until(2).tolist() == [[0.0, 1.0], [1.75, 2.125], [3.5, 3.5]]
    assert answers.predictions().tolist() == [1, 1, 0]
    assert answers.accuracy() == pytest.approx(1 / 3)


def test_a_model_without_single_timesteps_has_one() -> None:
    split = labelled(7, classes=2)
    answers = step_logits(MeanPixel(), split, 3, CPU, 4)
    assert answers.logits.shape == (1, 7, 2)
    expected = ((split.images - 0.5) / 0.25).mean((1, 2, 3))
    torch.testing.assert_close(answers.logits[0, :, 0], expected)


def test_the_mean_over_time_is_the_models_own_answer() -> None:
    model, split = spikeformer().eval(), labelled()
    answers = step_logits(model, split, 4, CPU, 20)
    with torch.no_grad():
        assert torch.equal(answers.mean_until(4), model(next(split.batches(20, 4))[0]))


def test_a_model_is_left_as_it_was() -> None:
    model = spikeformer()
    frozen = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    frozen.eval()
    modes = [module.training for module in model.modules()]
    potentials = [module.v for module in model.modules() if isinstance(module, SpikingNeuron)]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    answers = step_logits(model, labelled(), 2, CPU)
    assert not answers.logits.requires_grad
    assert [module.training for module in model.modules()] == modes
    after = [module.v for module in model.modules() if isinstance(module, SpikingNeuron)]
    assert all(a is b for a, b in zip(potentials, after, strict=True))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_single_step_neurons_begin_every_batch_at_rest() -> None:
    class Stepped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(step_mode="s")

        def forward(self, images: Tensor) -> Tensor:
            spikes = torch.stack([self.neuron(x.mean((1, 2, 3)) + 1.0) for x in images]).mean(0)
            return torch.stack([spikes, -spikes], -1)

    whole, parts = (step_logits(Stepped(), labelled(7, classes=2), 3, CPU, size).logits for size in (7, 3))
    assert torch.equal(whole, parts)


def test_a_network_of_images_takes_one_timestep() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    split = labelled()
    answers = step_logits(TimeFirst(network), split, 1, CPU)
    torch.testing.assert_close(answers.logits[0], network((split.images - 0.5) / 0.25).detach())
    with pytest.raises(InputError, match="Sequential reads single images and was given 2 timesteps"):
        step_logits(TimeFirst(network), split, 2, CPU)


@pytest.mark.parametrize(
    ("labels", "message"), [([0, -1, 0], r"without a label \(-1\)"), ([0, 2, 1], "tells 2 classes apart .* label 2")]
)
def test_labels_that_cannot_be_right_are_refused(labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        step_logits(Given(WRITTEN), numbered(labels), 2, CPU)


def test_an_empty_split_is_refused() -> None:
    split = labelled()
    empty = TensorSplit(split.images[:0], split.labels[:0], split.normalise)
    with pytest.raises(InputError, match="holds no sample"):
        step_logits(MeanPixel(), empty, 1, CPU)


def test_answers_of_another_shape_are_refused() -> None:
    class Map(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[0]

    with pytest.raises(InputError, match=r"shape \(20, 1, 8, 8\), expected \[B, K\] with B = 20"):
        step_logits(Map(), labelled(), 1, CPU)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_are_a_fault(wrong: float) -> None:
    logits = WRITTEN.clone()
    logits[1, 2, 0] = wrong
    with pytest.raises(RunError, match="Given answered with NaN or infinity"):
        step_logits(Given(logits), numbered([0, 1, 1]), 2, CPU)


@pytest.mark.parametrize("timesteps", [0, 3])
def test_an_answer_after_more_timesteps_than_ran_is_refused(timesteps: int) -> None:
    answers = step_logits(Given(WRITTEN), numbered([0, 1, 1]), 2, CPU)
    with pytest.raises(InputError, match=f"of 2 timesteps; give 1 to that, not {timesteps}"):
        answers.accuracy(timesteps)
