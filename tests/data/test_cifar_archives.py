"""CIFAR-10 and CIFAR-100: every version, in folders and in archives, and their checksums."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from hardware_models.errors import InputError
from neuro.data import Dataset, cifar10, cifar100, load_dataset
from neuro.data.archives import read_members

COUNT = 3
NAMES_100 = [f"thing_{number}" for number in range(100)]


def pixels(part: int) -> np.ndarray:
    return np.random.default_rng(part).integers(0, 256, (COUNT, 3072)).astype(np.uint8)


def labels(part: int, classes: int) -> list[int]:
    return [(classes - 1 - part * COUNT - i) % classes for i in range(COUNT)]


def records(part: int, classes: int, coarse: bool) -> bytes:
    columns = [np.array(labels(part, classes), np.uint8)[:, None], pixels(part)]
    return np.concatenate([np.full((COUNT, 1), 19, np.uint8)] * coarse + columns, 1).tobytes()


def cifar10_files(version: str) -> dict[str, bytes]:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    if version == "binary":
        return {f"{name}.bin": records(part, 10, False) for part, name in enumerate(names)}
    held = [
        {"batch_label": "some batch", "data": pixels(part), "labels": labels(part, 10), "filenames": ["a.png"] * COUNT}
        for part in range(6)
    ]
    meta = pickle.dumps({"num_cases_per_batch": COUNT, "label_names": list(cifar10.CLASSES)})
    return {name: pickle.dumps(each, protocol=2) for name, each in zip(names, held, strict=True)} | {
        "batches.meta": meta
    }


def cifar100_files(version: str) -> dict[str, bytes]:
    if version == "binary":
        named = "\n".join([*NAMES_100, ""]).encode()
        files = {f"{name}.bin": records(part, 100, True) for part, name in enumerate(("train", "test"))}
        return files | {"fine_label_names.txt": named, "coarse_label_names.txt": b"animals\n"}
    held = [
        {"data": pixels(part), "fine_labels": labels(part, 100), "coarse_labels": [19] * COUNT} for part in range(2)
    ]
    meta = pickle.dumps({b"fine_label_names": [name.encode() for name in NAMES_100]}, protocol=2)
    return {"train": pickle.dumps(held[0], protocol=2), "test": pickle.dumps(held[1], protocol=4), "meta": meta}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def packed(path: Path, files: Mapping[str, bytes], folder: str) -> str:
    """Write an archive of files in a folder; return its MD5."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def check(data: Dataset, train_parts: int, classes: int) -> None:
    """The images and labels of a data set are those that were written."""
    assert data.train is not None
    for split, parts in ((data.train, range(train_parts)), (data.test, [train_parts])):
        images, found = next(iter(split.batches(100, 1)))
        raw = (split.normalise.undo(images[0]) * 255).round().to(torch.uint8).flatten(1)
        assert torch.equal(raw, torch.from_numpy(np.concatenate([pixels(part) for part in parts])))
        assert found.tolist() == [label for part in parts for label in labels(part, classes)]


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("unpacked", [True, False])
def test_folders_of_both_versions(tmp_path: Path, version: str, unpacked: bool) -> None:
    ten = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}[version] if unpacked else ""
    write(tmp_path / "ten" / ten, cifar10_files(version))
    check(load_dataset(f"cifar10:{tmp_path / 'ten'}"), 5, 10)
    hundred = f"cifar-100-{version}" if unpacked else ""
    write(tmp_path / "hundred" / hundred, cifar100_files(version))
    data = load_dataset(f"cifar100:{tmp_path / 'hundred'}")
    check(data, 1, 100)
    assert data.classes == tuple(NAMES_100)


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("module", [cifar10, cifar100])
def test_archives_and_the_folder_that_holds_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, module: ModuleType
) -> None:
    files, name = (cifar10_files(version), "cifar10") if module is cifar10 else (cifar100_files(version), "cifar100")
    published = getattr(module, version.upper())
    path = tmp_path / published.archive
    md5 = packed(path, files, published.folder)
    with pytest.raises(InputError, match=f"its MD5 is {md5} and that of the published archive {published.md5}"):
        load_dataset(f"{name}:{path}")
    with pytest.raises(InputError, match="unpack it and give the folder"):
        load_dataset(f"{name}:{tmp_path}")

    monkeypatch.setattr(module, version.upper(), replace(published, md5=md5))
    for place in (path, tmp_path):
        data = load_dataset(f"{name}:{place}")
        check(data, *((5, 10) if module is cifar10 else (1, 100)))
        assert str(path) in data.source


def test_damaged_archives_are_not_called_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    packed(path, {"kept": bytes(range(256)) * 40, "other": b"1"}, "folder")
    content = path.read_bytes()
    middle = bytes([content[len(content) // 2] ^ 0xFF])
    for damaged in (
        content[:-9],
        b"no archive",
        b"",
        content[: len(content) // 2] + middle + content[-len(content) // 2 + 1 :],
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged or truncated"):
            read_members(path, {"kept"}, "0" * 32)
    with pytest.raises(InputError, match="cannot be read"):
        read_members(tmp_path / "absent.tar.gz", {"kept"}, "0" * 32)


def test_a_gzip_file_that_is_no_tar_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(b"x" * 5000))
    with pytest.raises(InputError, match="damaged or truncated"):
        read_members(path, {"kept"}, hashlib.md5(path.read_bytes()).hexdigest())


def test_only_wanted_members_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    md5 = packed(path, {"kept": b"1", "other": b"2"}, "../somewhere")
    assert read_members(path, {"kept", "absent"}, md5) == {"kept": b"1"}


def refusal(spec: str) -> str:
    with pytest.raises(InputError) as caught:
        load_dataset(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_places_that_hold_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no" in refusal(f"cifar100:{tmp_path / 'absent'}")
    message = refusal(f"cifar100:{tmp_path}")
    assert "lacks train.bin, test.bin of the binary version of CIFAR-100" in message
    assert "cifar-100-python.tar.gz" in message
    write(tmp_path, {"train": b"x"})
    assert "lacks test of CIFAR-100 for Python" in refusal(f"cifar100:{tmp_path}")
    (tmp_path / "renamed.tgz").write_bytes(b"x")
    assert "none of the published archives" in refusal(f"cifar10:{tmp_path / 'renamed.tgz'}")
    files = cifar100_files("binary")
    del files["test.bin"]
    md5 = packed(tmp_path / cifar100.BINARY.archive, files, "folder")
    monkeypatch.setattr(cifar100, "BINARY", replace(cifar100.BINARY, md5=md5))
    assert "lacks test.bin" in refusal(f"cifar100:{tmp_path}")


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    ten = write(tmp_path / "ten", cifar10_files("python"))

    def with_test_batch(held: object) -> str:
        write(ten, {"test_batch": pickle.dumps(held, protocol=2)})
        return refusal(f"cifar10:{ten}")

    assert "holds a list, not a dict" in with_test_batch([1])
    assert "no 'data' of 3,072 bytes" in with_test_batch({"data": pixels(0).astype(np.int32), "labels": [0] * COUNT})
    assert "no 'data' of 3,072 bytes" in with_test_batch({"labels": [0]})
    assert "no list 'labels' of 3 numbers" in with_test_batch({"data": pixels(0), "labels": [0]})
    assert "no list 'labels' of 3 numbers" in with_test_batch({"data": pixels(0), "labels": ["a", "b", "c"]})
    assert "the label 10, but CIFAR-10" in with_test_batch({"data": pixels(0), "labels": [0, 10, 1]})
    assert "the label -1" in with_test_batch({"data": pixels(0), "labels": [0, -1, 1]})
    write(ten, {"test_batch": b"cos\nsystem\n(S'exit'\ntR."})
    assert "the name os.system" in refusal(f"cifar10:{ten}")


def test_names_of_the_100_classes(tmp_path: Path) -> None:
    folder = write(tmp_path, cifar100_files("binary"))
    (folder / "fine_label_names.txt").write_text("apple\npear\n")
    assert "names 2 classes, not 100" in refusal(f"cifar100:{folder}")
    (folder / "fine_label_names.txt").unlink()
    data = load_dataset(f"cifar100:{folder}")
    assert data.classes == tuple(map(str, range(100)))
    with pytest.raises(InputError, match="CIFAR-100 has images of 32x32, not of 64x64"):
        load_dataset(f"cifar100:{folder}", image_size=64)
