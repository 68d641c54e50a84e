"""Where the members of tar files lie, so that any can be read alone: one pass over the headers, nothing unpacked."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_models.errors import InputError

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar file.

    Attributes:
        tar: the tar file.
        name: of the member, with its folders.
        offset: of its first byte in the tar file.
        size: in bytes.
    """

    tar: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.name} in {self.tar}"

    def read(self) -> bytes:
        """Return the content.

        Raises:
            InputError: the tar file went away or became shorter.
        """
        try:
            with self.tar.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise InputError(f"cannot read {self} ({error.strerror}); put the file back.") from error
        if len(content) != self.size:
            raise InputError(f"{self} is cut off, though it was whole when it was listed; fetch the file again.")
        return content


class TarImages:
    """Images in tar files; several threads may open them at once.

    Args:
        members: one for each image.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)

    def __len__(self) -> int:
        return len(self.members)

    def open(self, index: int) -> io.BytesIO:
        return io.BytesIO(self.members[index].read())

    def name(self, index: int) -> str:
        return str(self.members[index])


def members(path: Path) -> Iterator[Member]:
    """Yield the files in a tar file, in their order; folders and hidden files are left out.

    Raises:
        InputError: no tar file or a compressed one, damaged or cut off (names the last whole member), a link.
    """
    last = ""
    try:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                last = entry.name
                if _is_file(entry, path):
                    yield Member(path, entry.name, entry.offset_data, entry.size)
                tar.members.clear()  # type: ignore[attr-defined] # tarfile would keep all of them
            _check_end(tar, path, last)
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, last, str(error)) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); permit it.") from error


def _is_file(entry: tarfile.TarInfo, path: Path) -> bool:
    if entry.isdir() or entry.name.rpartition("/")[2].startswith("."):
        return False
    if not entry.isreg() or entry.issparse():
        raise InputError(f"{path} holds {entry.name}, which is a link or no plain file; pack the files themselves.")
    return True


def _check_end(tar: tarfile.TarFile, path: Path, last: str) -> None:
    """Refuse a tar file without its closing block of zeros: `tarfile` takes damage for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(_BLOCK)
    if block != bytes(_BLOCK):
        raise _damaged(path, last, "a header is damaged" if len(block) == _BLOCK else "it ends without a closing block")


def _damaged(path: Path, last: str, reason: str) -> InputError:
    where = f"after the member {last}" if last else "at its beginning"
    return InputError(
        f"{path} is damaged, cut off or no uncompressed tar file {where} ({reason.rstrip('.')}); fetch it again."
    )
