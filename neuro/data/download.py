"""Download a file with a checksum, so that what lies in the cache is always whole and always right."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from tqdm import tqdm

from hardware_models.errors import RunError

TIMEOUT_SECONDS = 30
CHUNK = 1 << 16


class DownloadError(Exception):
    """No address gave the right file; the message lists what each of them gave."""


def cache_folder() -> Path:
    """Return the user's cache of this package: `$XDG_CACHE_HOME/neuro`, or `~/.cache/neuro`."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "neuro"
    try:
        return Path.home() / ".cache" / "neuro"
    except RuntimeError:  # a user without a home directory, as in some containers
        return Path(tempfile.gettempdir()) / "neuro"


def download(urls: Iterable[str], target: Path, md5: str) -> None:
    """Fetch `target` from the first of `urls` that gives a file with this checksum.

    The file appears under its name only when it is complete and right; an interruption leaves nothing behind.

    Args:
        urls: addresses of the same file.
        target: where it goes; its folder is made.
        md5: the checksum that the data set's authors publish, in hexadecimal.

    Raises:
        DownloadError: none of the addresses gave the right file.
        RunError: the target folder cannot be written (read-only, or full).
    """
    failures = []
    for url in urls:
        try:
            _fetch(url, target, md5)
            return
        except DownloadError as error:
            failures.append(f"{url}: {error}")
    raise DownloadError("; ".join(failures))


def _fetch(url: str, target: Path, md5: str) -> None:
    """Download one address to a temporary file beside `target`, check it, and rename it."""
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            found = _copy(url, file, target.name)
        if found != md5:
            raise DownloadError(f"its MD5 is {found}, not {md5}")
        temporary.replace(target)
    except OSError as error:  # what the network raises has become a DownloadError; this is the disk
        raise RunError(
            f"cannot write into {target.parent} ({error.strerror}); make room or permit it, "
            "or set XDG_CACHE_HOME to another folder."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _copy(url: str, file: IO[bytes], name: str) -> str:
    """Copy what lies at `url` into `file` under a progress bar; return its MD5 in hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)
    with (
        _open(url) as response,
        tqdm(total=response.length, desc=name, unit="B", unit_scale=True, leave=False) as bar,
    ):
        while chunk := _read(response):
            digest.update(chunk)
            file.write(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _open(url: str) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS)
    except urllib.error.URLError as error:
        raise DownloadError(str(error.reason)) from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise DownloadError(str(error) or type(error).__name__) from error
    return response


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (http.client.HTTPException, OSError) as error:
        raise DownloadError(str(error) or type(error).__name__) from error
