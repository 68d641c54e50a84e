"""Optuna, imported when a search begins, and quiet."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hardware_models.errors import InputError


def optuna() -> Any:
    """Return Optuna's module; where it is not installed that is an `InputError`."""
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise InputError("the search needs Optuna, which is not installed; pip install neuro[search].") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without a line for each trial, and the notes on experimental classes."""
    logging = optuna().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna().exceptions.ExperimentalWarning)
            yield
    finally:
        logging.set_verbosity(before)
