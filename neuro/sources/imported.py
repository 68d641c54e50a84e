"""`module.path:factory`: a user's own function that makes a network."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from torch import Tensor, nn

from hardware_models.errors import InputError, unknown_name
from neuro.sources.source import Size, Source, image_settings, in_evaluation, noise
from quant.capture.complaints import line_of, said


def from_factory(given: str, size: Size) -> Source:
    """Import a module, also from the working directory, and call its factory without arguments.

    The factory returns a module, or a module and its example inputs, each `[B, ...]`.

    Raises:
        InputError: there is no such module or factory, it fails, or it returns something else; or it returns a module
            alone and nothing says how large its input is.
    """
    path, _, name = given.partition(":")
    made = _call(given, _find(path, name))
    model, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{given} returned {type(model).__name__}, expected a torch.nn.Module, or one and its example inputs."
        )
    model, notes = in_evaluation(model)
    settings = image_settings(model)
    if example is None or size is not None:
        example = noise(given, model, size)
    inputs = (example,) if isinstance(example, Tensor) else tuple(example)
    return Source(given, model, inputs, notes=notes, **settings)


def _find(path: str, name: str) -> Any:
    here = os.getcwd()  # noqa: PTH109  # an entry of sys.path is a string
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            raise InputError(
                f"there is no module {path}; give one that Python can import from here, as module.path:factory."
            ) from error
        raise InputError(f"{path} needs {error.name}, which is not installed.") from error
    except Exception as error:
        raise InputError(f"{path} fails at {line_of(error)} ({said(error)}); mend it.") from error
    finally:
        if added:
            sys.path.remove(here)
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise unknown_name(f"factory in {path}", name, [one for one in dir(module) if not one.startswith("_")])
        found = getattr(found, part)
    return found


def _call(given: str, factory: Any) -> Any:
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise InputError(f"{given} is {type(factory).__name__}, expected a function that returns a torch.nn.Module.")
    try:
        return factory()
    except Exception as error:
        raise InputError(
            f"{given} fails at {line_of(error)} ({said(error)}); it is called without arguments."
        ) from error
