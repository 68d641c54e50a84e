"""Downloads from a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hardware_models.errors import InputError, RunError
from neuro.data import download, fashion_files, load_dataset


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(fashion_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(fashion_folder)))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def checksums(fashion_folder: Path) -> dict[str, str]:
    return {part: hashlib.md5((fashion_folder / f"{part}.gz").read_bytes()).hexdigest() for part in fashion_files.PARTS}


def test_what_is_downloaded_is_what_was_served_and_is_found_again(
    server: str, fashion_folder: Path, checksums: dict[str, str], nowhere: Path
) -> None:
    assert fashion_files.find() is None
    fashion_files.fetch(nowhere / "fashion-mnist", [server], checksums)
    for path in fashion_folder.iterdir():
        assert (nowhere / "fashion-mnist" / path.name).read_bytes() == path.read_bytes()
    assert len(list((nowhere / "fashion-mnist").iterdir())) == 4, "no temporary file is left"
    assert fashion_files.find() is not None
    assert len(load_dataset("fashion-mnist").test) == 10


def test_second_address_is_tried_when_the_first_fails(server: str, checksums: dict[str, str], tmp_path: Path) -> None:
    files = fashion_files.fetch(tmp_path / "got", [f"{server}/absent", server], checksums)
    assert all(path.is_file() for path in files.values())


def test_wrong_checksum_leaves_nothing(server: str, checksums: dict[str, str], tmp_path: Path) -> None:
    wrong = dict.fromkeys(checksums, "0" * 32)
    with pytest.raises(InputError, match="MD5"):
        fashion_files.fetch(tmp_path / "got", [server], wrong)
    assert list((tmp_path / "got").iterdir()) == []


def test_no_network_says_what_to_do(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fashion_files.fetch, "__defaults__", (("http://127.0.0.1:9",), fashion_files.PUBLISHED_MD5))
    with pytest.raises(InputError) as caught:
        load_dataset("fashion-mnist")
    for word in ("cannot be downloaded", "dataset-fashion-mnist", "fashion-mnist:FOLDER", "NEURO_DATA"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_interruption_leaves_nothing(
    server: str, checksums: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fashion_files.fetch(tmp_path / "got", [server], checksums)
    assert list((tmp_path / "got").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_fault_of_the_run(
    server: str, checksums: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="XDG_CACHE_HOME"):
        fashion_files.fetch(tmp_path / "file" / "got", [server], checksums)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_fault_of_the_run(
    server: str, checksums: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    real = os.fdopen

    def full(handle: int, mode: str) -> object:
        os.close(handle)
        return real(os.open("/dev/full", os.O_WRONLY), mode)

    monkeypatch.setattr(download.os, "fdopen", full)
    with pytest.raises(RunError, match="No space left"):
        fashion_files.fetch(tmp_path / "got", [server], checksums)
    assert list((tmp_path / "got").iterdir()) == []
