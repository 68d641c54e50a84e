"""Members of a .tar.gz archive in memory, after its checksum: nothing is written, and no path in it is followed."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from hardware_models.errors import InputError

CHUNK = 1 << 20


def read_members(path: Path, wanted: Collection[str], md5: str) -> dict[str, bytes]:
    """Return the content of the wanted members that an archive holds, by their names without folders.

    Args:
        path: a .tar.gz file.
        wanted: names of the members to keep; those that it lacks are not in the result.
        md5: the checksum that the data's authors publish, in hexadecimal.

    Raises:
        InputError: unreadable, damaged or truncated; or whole, but with another checksum.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check that it exists and is yours to read."
        ) from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    try:
        if found == md5:
            return _members(content, wanted)
        _check_whole(content)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged or truncated ({error}); delete it and fetch it again.") from error
    raise InputError(
        f"{path} is whole, but its MD5 is {found} and that of the published archive {md5}; fetch it again, or unpack "
        "it and give the folder if you know what it is."
    )


def _members(content: bytes, wanted: Collection[str]) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            file = archive.extractfile(member) if member.isfile() and name in wanted else None
            if file is not None:
                found[name] = file.read()
    return found


def _check_whole(content: bytes) -> None:
    """Unpack to the end, which checks gzip's own checksum, and keep nothing."""
    if not content:
        raise EOFError("it is empty")
    with gzip.open(io.BytesIO(content)) as stream:
        while stream.read(CHUNK):
            pass
