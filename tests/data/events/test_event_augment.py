"""Augmentations of events against changes worked out by hand."""

from __future__ import annotations

import numpy as np
import torch

from neuro.data.augment import Chain
from neuro.data.events import Events
from neuro.data.events.augment import DropArea, DropEvents, FlipPolarity, FlipX, JitterTime, Shift


def frames(samples: int = 2) -> torch.Tensor:
    return torch.arange(3 * samples * 2 * 4 * 4).float().view(3, samples, 2, 4, 4)


def test_flips_act_on_the_samples_whose_draw_is_small() -> None:
    draws = torch.tensor([[0.1], [0.9]])
    for change, axis in ((FlipX(), -1), (FlipPolarity(), 1)):
        changed = change(frames(), draws)
        assert torch.equal(changed[:, 0], frames()[:, 0].flip(axis))
        assert torch.equal(changed[:, 1], frames()[:, 1])


def test_shift_moves_all_timesteps_alike_and_fills_with_nothing() -> None:
    # The first sample goes down and right by one, the second stays.
    changed = Shift(1)(frames(), torch.tensor([[0.0, 0.0], [0.5, 0.5]]))
    assert torch.equal(changed[:, 0, :, 1:, 1:], frames()[:, 0, :, :-1, :-1])
    assert not changed[:, 0, :, 0].any()
    assert not changed[:, 0, :, :, 0].any()
    assert torch.equal(changed[:, 1], frames()[:, 1])


def test_drop_area_empties_one_rectangle_in_all_timesteps() -> None:
    ones = torch.ones(3, 2, 2, 4, 4)
    changed = DropArea(0.5)(ones, torch.tensor([[0.0, 0.99], [0.5, 0.5]]))
    first = [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    second = [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    for t in range(3):
        for polarity in range(2):
            assert changed[t, 0, polarity].tolist() == first
            assert changed[t, 1, polarity].tolist() == second
    assert torch.equal(DropArea(0.0)(ones, torch.rand(2, 2)), ones)


def test_a_chain_of_frame_changes_gives_each_its_own_numbers() -> None:
    chain = Chain((FlipX(), Shift(1)))
    assert chain.draws == 3
    numbers = torch.tensor([[0.1, 0.5, 0.5], [0.9, 0.0, 0.0]])
    expected = Shift(1)(FlipX()(frames(), numbers[:, :1]), numbers[:, 1:])
    assert torch.equal(chain(frames(), numbers), expected)


def recording() -> Events:
    t = np.array([0, 10, 20, 30])
    x = np.arange(4, dtype=np.uint16)
    return Events(t, x, x, np.array([0, 1, 0, 1], np.uint8), 8, 8)


def test_jitter_moves_times_and_keeps_their_order() -> None:
    events = JitterTime(15)(recording(), np.array([0.999, 0.5, 0.0, 0.5]))  # by +15, 0, -15, 0
    assert events.t_us.tolist() == [5, 10, 15, 30]
    assert events.x.tolist() == [2, 1, 0, 3]
    assert events.p.tolist() == [0, 1, 0, 1]


def test_dropped_events_are_those_below_the_share() -> None:
    events = DropEvents(0.3)(recording(), np.array([0.1, 0.3, 0.29, 0.9]))
    assert events.t_us.tolist() == [10, 30]
    assert len(DropEvents(0.0)(recording(), np.zeros(4))) == 4
