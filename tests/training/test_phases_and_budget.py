"""Phases over T, the average of weights, spike budgets, parts of batches, and checkpoints within an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn
from toys import CAPABLE, PerStep, TwoParameters, spiking_network, stripes

from hardware_models.errors import InputError
from neuro.training import TrainingSettings, train
from neuro.training.average import Average
from neuro.training.log import Log
from neuro.training.losses import feature_distance
from neuro.training.schedule import Schedule, warmup_cosine
from neuro.training.settings import Phase
from neuro.training.spikes import FiringRates, SpikeBudget

PHASES = ({"timesteps": 1, "epochs": 3}, {"timesteps": 2, "epochs": 2, "learning_rate": 1e-3})


def settings(**given: Any) -> TrainingSettings:
    return TrainingSettings(**{"epochs": 2, "batch_size": 16, "learning_rate": 5e-3, **given})


def test_phases_count_the_epochs() -> None:
    assert TrainingSettings(phases=PHASES).epochs == 5
    assert TrainingSettings(phases=PHASES, epochs=5).epochs == 5
    assert TrainingSettings(phases=(), epochs=4).epochs == 4
    with pytest.raises(ValidationError, match=r"4 epochs were given beside phases of 5; .* \[\] for none"):
        TrainingSettings(phases=PHASES, epochs=4)


def test_settings_survive_their_own_document() -> None:
    found = TrainingSettings(phases=PHASES, distilled_layers=("stage1",), ema=0.9)
    assert TrainingSettings.model_validate(found.model_dump(mode="json")) == found


def test_what_packs_is_not_compiled() -> None:
    with pytest.raises(ValidationError, match="compile and packed_activations exclude each other"):
        TrainingSettings(compile=True, packed_activations=True)


def test_each_phase_has_its_own_warmup_and_cosine() -> None:
    schedule = Schedule(TrainingSettings(phases=PHASES, learning_rate=0.1, warmup_epochs=1), 10, 2)
    for epoch in range(5):
        first, epochs, peak = (0, 3, 0.1) if epoch < 3 else (3, 2, 1e-3)
        assert schedule.timesteps_at(epoch) == (1 if epoch < 3 else 2)
        for step in range(10):
            expected = warmup_cosine((epoch - first) * 10 + step, epochs * 10, 10, peak, 1e-5)
            assert schedule.learning_rate(epoch, step) == pytest.approx(expected)


def test_a_phase_can_warm_up_in_its_own_way() -> None:
    phases = ({"timesteps": 1, "epochs": 4}, {"timesteps": 2, "epochs": 2, "warmup_epochs": 0})
    schedule = Schedule(TrainingSettings(phases=phases, learning_rate=0.1, warmup_epochs=2), 10, 2)
    assert schedule.learning_rate(0, 0) == pytest.approx(0.1 / 20)
    assert schedule.learning_rate(4, 0) == pytest.approx(0.1)


def test_a_network_is_trained_at_the_t_of_each_phase() -> None:
    seen = []

    class Listening(PerStep):
        timesteps = 2

        def forward_steps(self, images: Tensor) -> Tensor:
            seen.append((self.training, self.timesteps, len(images)))
            return super().forward_steps(images)

    phases = (Phase(timesteps=1, epochs=1), Phase(timesteps=2, epochs=1))
    model = Listening()
    history = train(model, stripes(), settings(phases=phases, batch_size=32, epochs=2), progress=None)
    assert [one for one in seen if one[0]] == [(True, 1, 1), (True, 2, 2)]
    assert [record.timesteps for record in history] == [1, 2]
    assert model.timesteps == 2


def test_phases_that_do_not_end_at_the_networks_t_are_refused() -> None:
    with pytest.raises(InputError, match=r"phases end at T = 2, but the network has T = 3"):
        train(PerStep(), stripes(), TrainingSettings(phases=PHASES), progress=None)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.floats(0.01, 0.99))
def test_the_average_is_a_sum_by_hand(values: list[float], decay: float) -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average, expected = Average(layer, decay), 0.0
    for number, value in enumerate(values, 1):
        nn.init.constant_(layer.weight, value)
        average.update()
        kept = min(decay, number / (number + 9))
        expected = kept * expected + (1 - kept) * value
    assert average.weights["weight"].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    with average.in_place():
        assert layer.weight.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert layer.weight.item() == pytest.approx(values[-1])


def test_the_average_is_what_is_left_and_evaluated() -> None:
    averaged, plain = TwoParameters(), TwoParameters()
    train(plain, stripes(), settings(), progress=None)
    train(averaged, stripes(), settings(ema=0.999), progress=None)
    assert not torch.equal(plain.weight, averaged.weight)
    assert abs(averaged.weight - 0.3) < abs(plain.weight - 0.3)  # it lags behind, towards the first weights


def test_the_price_of_spikes_rises_until_the_budget_is_kept_and_falls_again() -> None:
    budget = SpikeBudget(0.1, 0.5)
    loss, rate = torch.tensor(3.0), torch.tensor(0.2)
    assert budget.priced(loss, rate).item() == 3
    budget.update(0.2)
    assert budget.price == pytest.approx(0.5)
    assert budget.priced(loss, rate).item() == pytest.approx((3 + 0.5 * 2) / 1.5)
    budget.update(0.05)
    assert budget.price == pytest.approx(0.25)
    budget.update(0.0)
    assert budget.price == 0


def test_firing_rates_are_counted_spikes_and_pass_gradients() -> None:
    model = spiking_network()
    fired: list[Tensor] = []
    rates = FiringRates(model)
    for neuron in rates._neurons:
        neuron.register_forward_hook(lambda module, given, spikes: fired.append(spikes))
    x = torch.rand(2, 4, 1, 8, 8) * 3
    with rates.watching():
        model.train()(x)
        mean = rates.mean()
    spikes, places = sum(s.sum().item() for s in fired), sum(s.numel() for s in fired)
    assert mean.item() == pytest.approx(spikes / places)
    mean.backward()
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


def test_a_spike_budget_lowers_the_spikes() -> None:
    def rate(budget: float) -> float:
        model = spiking_network(widths=CAPABLE)
        history = train(
            model,
            stripes(64),
            settings(epochs=20, learning_rate=1e-2, spike_budget=budget, budget_rate=0.5, evaluate_every=99),
            progress=None,
        )
        assert history[-1].firing_rate is not None
        return history[-1].firing_rate

    free = rate(1.0)
    assert rate(free / 2) < 0.8 * free


def test_a_spike_budget_without_neurons_is_refused() -> None:
    with pytest.raises(InputError, match="spike budget was set for a PerStep, which has no spiking neurons"):
        train(PerStep(), stripes(), settings(spike_budget=0.1), progress=None)


def test_a_batch_in_parts_gives_the_same_step() -> None:
    whole, parts = PerStep(), PerStep()  # no BatchNorm, so that parts are independent
    first = train(whole, stripes(), settings(batch_size=32), progress=None)
    second = train(parts, stripes(), settings(batch_size=32, accumulate=3), progress=None)
    assert [record.loss for record in first] == pytest.approx([record.loss for record in second], rel=1e-5)
    torch.testing.assert_close(whole.head.weight, parts.head.weight, rtol=1e-4, atol=1e-6)


def test_a_last_batch_too_small_for_its_parts_is_refused() -> None:
    with pytest.raises(InputError, match="the last batch has 2 of 32 samples, for 1 processes of 3 parts each"):
        train(PerStep(), stripes(), settings(batch_size=15, accumulate=3), progress=None)


def test_mixed_batches_train_and_count_the_labels_of_the_first_image() -> None:
    history = train(PerStep(), stripes(64), settings(epochs=10, mixup=0.2, cutmix=0.5), progress=None)
    assert history[-1].train_accuracy > 0.6
    assert history[0].loss > history[-1].loss


def test_layers_are_pulled_to_the_teachers_pattern() -> None:
    x = torch.randn(4, 3, 5)
    assert feature_distance(x, 7 * x).item() == pytest.approx(0, abs=1e-6)
    assert feature_distance(x, -x).item() == pytest.approx(4, rel=1e-5)
    with pytest.raises(InputError, match=r"\[4, 3, 5\] and the teacher's \[4, 3\]"):
        feature_distance(x, x[..., 0])


def test_a_teachers_layers_lower_their_distance() -> None:
    def losses(weight: float) -> list[float]:
        given = settings(epochs=12, distilled_layers=("stage1",), layer_distillation=weight, distillation=0.0)
        teacher, model = spiking_network(seed=4, widths=CAPABLE), spiking_network(widths=CAPABLE)
        history = train(model, stripes(64), given, progress=None, teacher=teacher)
        return [record.loss for record in history]

    without, found = losses(0.0), losses(1.0)
    assert found[0] > without[0]  # the distance counts
    assert found[0] - without[0] > found[-1] - without[-1]  # and falls


def test_layers_that_are_named_count() -> None:
    def loss(**given: Any) -> float:
        teacher, model = spiking_network(seed=4), spiking_network()
        return train(model, stripes(), settings(epochs=1, **given), progress=None, teacher=teacher)[0].loss

    assert loss(distilled_layers=("stage1",)) > loss()


def test_unknown_layers_are_refused_by_name() -> None:
    given = settings(distilled_layers=("stage9",))
    with pytest.raises(InputError, match=r"names 'stage9', which a SpikeformerV2 has not; its parts are stem, "):
        train(spiking_network(), stripes(), given, progress=None, teacher=spiking_network())
    with pytest.raises(InputError, match="distilled_layers were set without a teacher"):
        train(spiking_network(), stripes(), given, progress=None)


def stopping_after(steps: int) -> Any:
    data, left = stripes(), steps
    batches = data.train.batches  # type: ignore[union-attr]

    def stop(*args: Any, **named: Any) -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal left
        for batch in batches(*args, **named):
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            yield batch

    data.train.batches = stop  # type: ignore[union-attr,method-assign]
    return data


@pytest.mark.parametrize("steps", [3, 6, 7])
def test_a_training_goes_on_within_an_epoch_bit_for_bit(tmp_path: Path, steps: int) -> None:
    given = settings(batch_size=8, checkpoint_every=1, ema=0.9, spike_budget=0.05, mixup=0.5)
    whole, kept = spiking_network(drop_path=0.3), tmp_path / "kept.pt"
    expected = train(whole, stripes(), given, progress=None)
    with pytest.raises(KeyboardInterrupt):
        train(spiking_network(drop_path=0.3), stopping_after(steps), given, checkpoint=kept, progress=None)
    resumed = spiking_network(seed=8, drop_path=0.3)
    history = train(resumed, stripes(), given, checkpoint=kept, resume=True, progress=None)
    for one, other in zip(history, expected, strict=True):
        leave = {"seconds", "waited_seconds"}
        assert one.model_dump(exclude=leave) == pytest.approx(other.model_dump(exclude=leave))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


@pytest.mark.parametrize("steps", [3, 7, 11])
def test_a_training_goes_on_within_any_phase_bit_for_bit(tmp_path: Path, steps: int) -> None:
    phases = (Phase(timesteps=1, epochs=1), Phase(timesteps=2, epochs=2, learning_rate=1e-3))
    given = settings(epochs=3, phases=phases, batch_size=8, checkpoint_every=1, evaluate_every=1)
    whole, kept = spiking_network(), tmp_path / "kept.pt"
    expected = train(whole, stripes(), given, progress=None)
    with pytest.raises(KeyboardInterrupt):
        train(spiking_network(), stopping_after(steps), given, checkpoint=kept, progress=None)
    resumed = spiking_network(seed=8)
    history = train(resumed, stripes(), given, checkpoint=kept, resume=True, progress=None)
    assert [one.timesteps for one in history] == [1, 2, 2]
    assert [one.loss for one in history] == pytest.approx([one.loss for one in expected])
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_the_log_has_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "step", "step": 1}\n{"event": "st')
    log = Log(path)
    train(PerStep(), stripes(), settings(epochs=1, log_every=1), progress=None, log=log)
    lines = path.read_text().splitlines()
    assert lines[0] == '{"event": "step", "step": 1}'
    assert [line.split('"')[3] for line in lines] == ["step", "step", "step", "epoch"]
