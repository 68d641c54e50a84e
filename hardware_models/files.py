"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hardware_models.errors import RunError


@contextmanager
def write_atomically(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Yield a temporary file that takes the place of `path` when the block ends without an error.

    Args:
        path: the file to write; its folder must exist.
        mode: `"w"` (UTF-8 text) or `"wb"`.

    Raises:
        RunError: the file cannot be written (full disk, read-only folder); `path` is as it was before.
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"could not write {path}: {reason}; free space, or write to another directory.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
