"""Confusion matrices, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

from hardware_models.errors import InputError
from neuro.evaluation import Answers, Confusion, confusion

HAND = Confusion(((3, 1, 0), (2, 2, 1), (0, 0, 0)), ("cat", "dog", "a|b"))


def answers_of(true: list[int], predicted: list[int], classes: int) -> Answers:
    return Answers(torch.eye(classes)[predicted].unsqueeze(0), torch.tensor(true))


def test_by_hand() -> None:
    assert HAND.samples == 9
    assert HAND.accuracy == 5 / 9
    assert HAND.recall == (3 / 4, 2 / 5, None)
    assert HAND.precision == (3 / 5, 2 / 3, 0.0)
    assert HAND.top(2) == [("dog", "cat", 2, 2 / 5), ("cat", "dog", 1, 1 / 4)]
    assert len(HAND.top()) == 3


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_against_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    found = confusion(answers_of(true, predicted, 5))
    every = list(range(5))
    np.testing.assert_array_equal(found.counts, confusion_matrix(true, predicted, labels=every))
    assert found.accuracy == pytest.approx(accuracy_score(true, predicted))
    for ours, theirs in ((found.recall, recall_score), (found.precision, precision_score)):
        expected = theirs(true, predicted, labels=every, average=None, zero_division=np.nan)
        np.testing.assert_allclose([np.nan if share is None else share for share in ours], expected)


def test_the_answer_may_be_read_earlier() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])
    answers = Answers(logits, torch.tensor([0]))
    assert confusion(answers, timesteps=1).counts == ((1, 0), (0, 0))
    assert confusion(answers).counts == ((0, 1), (0, 0))


def test_as_markdown() -> None:
    text = HAND.to_markdown(top=1)
    assert "| cat | 4 | 75.00 % | 60.00 % |" in text
    assert "| a\\|b | 0 | - | 0.00 % |" in text
    assert "| dog | 2 | 2 | 1 |" in text
    assert "| dog | cat | 2 | 40.00 % |" in text
    assert "No sample was taken for another class." in Confusion(((1,),), ("all",)).to_markdown()


def test_a_wide_matrix_is_named_in_place_of_shown() -> None:
    text = confusion(answers_of([0, 20], [1, 20], 21)).to_markdown()
    assert "The matrix of 21 classes is too wide to show" in text
    assert "| 20 | 1 | 100.00 % | 100.00 % |" in text


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="2 names were given for 3 classes"):
        confusion(answers_of([0], [0], 3), ["a", "b"])
    with pytest.raises(InputError, match="give 2 rows of 2"):
        Confusion(((1, 0), (1,)), ("a", "b"))
