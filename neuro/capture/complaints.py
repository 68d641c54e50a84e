"""What torch.export complains about, as one sentence with the line of the user's code and a way out."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from hardware_models.errors import InputError

_LIBRARIES = ("torch", "timm", "transformers", "neuro")


def complaint(error: Exception) -> InputError:
    """Return the error to raise for one that `torch.export` raised."""
    text = str(error)
    at = _line_of_user_code(error)
    if "data-dependent" in text or "GuardOnDataDependentSymNode" in type(error).__name__:
        return InputError(
            f"{at} decides by the values of a tensor what to run next, which no fixed network can do; write it with "
            "torch.where, or convert the part of the network behind it."
        )
    if "ConstraintViolation" in type(error).__name__ or "specialized" in text:
        return InputError(
            f"{at} fixes the size of the batch; take sizes from x.shape instead of numbers, and keep the first axis "
            "for the batch."
        )
    first = re.sub(r"\s+", " ", text).strip()[:300]
    return InputError(f"torch.export cannot capture the network at {at}: {first}; export it yourself or change it.")


def _line_of_user_code(error: BaseException) -> str:
    """The innermost frame that belongs to no library, else the innermost one outside torch."""
    named = re.search(r'File "([^"]+)", line (\d+), in (\w+)', str(error))
    frames = traceback.extract_tb(error.__traceback__)
    outside = [f for f in frames if not any(f"/{name}/" in f.filename for name in _LIBRARIES) and f.filename[:1] != "<"]
    if outside:
        last = outside[-1]
        return f"{Path(last.filename).name}:{last.lineno} ({last.name})"
    if named:
        return f"{Path(named[1]).name}:{named[2]} ({named[3]})"
    return "the network"
