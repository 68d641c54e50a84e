"""Images in tar files: both layouts, and everything that can be wrong with them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from hardware_models.errors import InputError
from neuro.data import Dataset, Split, load_dataset
from neuro.data.tar_index import members


def picture(red: int, size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    """A picture of one colour."""
    content = io.BytesIO()
    Image.new("RGB", size, (red, 128, 7)).save(content, kind)
    return content.getvalue()


def pack(path: Path, files: Mapping[str, bytes], style: int = tarfile.GNU_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=style) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def keyed(numbers: range, classes: int = 3) -> dict[str, bytes]:
    """WebDataset's members: picture i has the red value 5 i and the class i modulo `classes`."""
    files = {}
    for number in numbers:
        files[f"{number:05}.png"] = picture(5 * number)
        files[f"{number:05}.cls"] = str(number % classes).encode()
    return files


def load(folder: Path, size: int = 8, **options: int) -> Dataset:
    return load_dataset(f"shards:{folder}", image_size=size, **options)


def reds(split: Split, seed: int | None = None, batch_size: int = 3) -> list[tuple[int, int]]:
    """(red value, label) of each sample, in order."""
    found = []
    for images, labels in split.batches(batch_size, 2, seed):
        red = split.normalise.undo(images[0]).mean((2, 3))[:, 0] * 255
        found += list(zip(red.round().int().tolist(), labels.tolist(), strict=True))
    return found


def expected(numbers: range, classes: int = 3) -> list[tuple[int, int]]:
    return [(5 * number, number % classes) for number in numbers]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for shard in range(3):
        pack(tmp_path / f"train-{shard:04}.tar", keyed(range(8 * shard, 8 * shard + 8)))
    pack(tmp_path / "val-0000.tar", keyed(range(30, 36)))
    return tmp_path


def test_webdatasets_layout(shards: Path) -> None:
    data = load(shards)
    assert data.train is not None
    assert data.classes == ("0", "1", "2")
    assert reds(data.train) == expected(range(24))
    assert reds(data.test) == expected(range(30, 36))
    assert "held-out images from val*.tar; 24 to train and 6 to test" in data.source
    assert load_dataset(f"shards:{shards}").image_size == 224


def test_shuffling_is_a_permutation_across_all_shards(shards: Path) -> None:
    train = load(shards).train
    assert train is not None
    order = reds(train, 7)
    assert order == reds(train, 7, batch_size=16)
    assert order != reds(train, 8)
    assert sorted(order) == expected(range(24))
    assert len({red // 40 for red, _ in order[:8]}) == 3, "the first batch mixes all shards"


def test_labels_in_json_and_other_members(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for number in range(4):
        files[f"a/{number}.JPG"] = picture(50 * number, kind="JPEG")
        files[f"a/{number}.json"] = json.dumps({"label": number % 2, "caption": "x"}).encode()
        files[f"a/{number}.seg.png"] = b"not opened"
    files["b/0.webp"], files["b/0.cls"], files["b/0.json"] = picture(9, kind="WEBP"), b"1\n", b'{"caption": "y"}'
    pack(tmp_path / "test.tar", files)
    data = load(tmp_path)
    assert data.train is None
    assert [label for _, label in reds(data.test)] == [0, 1, 0, 1, 1]
    assert "only test*.tar, nothing to train on" in data.source
    assert "not read: members ending in seg.png" in data.source


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_imagenets_layout(tmp_path: Path, style: int) -> None:
    long = "n01440764_" + "x" * 120 if style != tarfile.USTAR_FORMAT else "n01440764_x"
    train = {f"n02/{i}.my.photo.JPEG": picture(100 + 5 * i) for i in range(3)} | {f"n01/{long}.JPEG": picture(10)}
    pack(tmp_path / "train.tar", train, style)
    pack(tmp_path / "val.tar", {"./val/n01/1.JPEG": picture(20), "./val/n02/2.JPEG": picture(200)}, style)
    data = load(tmp_path)
    assert data.train is not None
    assert data.classes == ("n01", "n02")
    assert reds(data.train) == [(100, 1), (105, 1), (110, 1), (10, 0)]
    assert reds(data.test) == [(20, 0), (200, 1)]


def test_only_training_shards_are_split(tmp_path: Path) -> None:
    pack(tmp_path / "train.tar", keyed(range(15)))
    data = load(tmp_path)
    assert data.train is not None
    assert (len(data.train), len(data.test)) == (12, 3)
    assert sorted(reds(data.train) + reds(data.test)) == expected(range(15))
    assert "20% of each class held out" in data.source


def test_limits_and_training_crops(shards: Path) -> None:
    data = load(shards, train_limit=6, test_limit=3)
    assert data.train is not None
    assert sorted(label for _, label in reds(data.train)) == [0, 0, 1, 1, 2, 2]
    assert len(data.test) == 3
    assert "a random crop of 8% to 100%" in data.preprocessing


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "val.tar", "w") as tar:
        for name in ("a", "b"):
            folder = tarfile.TarInfo(name)
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            for file in (f"{name}/1.png", f"{name}/._1.png"):
                entry = tarfile.TarInfo(file)
                entry.size = len(picture(9))
                tar.addfile(entry, io.BytesIO(picture(9)))
    assert len(load(tmp_path).test) == 2


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_shards(tmp_path: Path) -> None:
    assert "there is no folder" in refusal(tmp_path / "absent")
    assert "neither train*.tar nor val*.tar nor test*.tar" in refusal(tmp_path)
    pack(tmp_path / "train.tar", {"a.txt": b"x"})
    assert "holds no image in train.tar" in refusal(tmp_path)


def test_every_cut_of_a_shard_is_refused_by_name(shards: Path) -> None:
    path = shards / "train-0001.tar"
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        entries = [(entry.offset, entry.name) for entry in tar]
    for number, (offset, _) in enumerate(entries):
        for length in {offset, offset + 100, offset + 512, offset + 520}:
            path.write_bytes(content[:length])
            message = refusal(shards)
            assert f"{path} is damaged" in message
            # A member whose content is cut off has been named by its header.
            assert number == 0 or entries[number - 1][1] in message or entries[number][1] in message


def test_a_damaged_header_is_not_taken_for_the_end(shards: Path) -> None:
    path = shards / "train-0000.tar"
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        fifth = tar.getmembers()[4]
    content[fifth.offset + 20] ^= 0xFF
    path.write_bytes(content)
    assert f"{path} is damaged, cut off or no uncompressed tar file after the member 00001.cls" in refusal(shards)


def test_files_that_are_no_tar_files(shards: Path) -> None:
    path = shards / "val-0000.tar"
    for content in (b"", b"text" * 1000):
        path.write_bytes(content)
        assert f"{path} is damaged, cut off or no uncompressed tar file at its beginning" in refusal(shards)
    with tarfile.open(path, "w:gz"):
        pass
    assert "no uncompressed tar file" in refusal(shards)


def test_a_link_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        entry = tarfile.TarInfo("a/1.png")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    assert "holds a/1.png, which is a link" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"1.png": None, "1.cls": b"0", "2.png": None}, "2.png in"),
        ({"1.png": None, "1.cls": b"0", "2.cls": b"1"}, "a class for the key 2 but no image"),
        ({"1.png": None, "1.cls": b"cat"}, "1.cls in"),
        ({"1.png": None, "1.cls": b"-1"}, "the class -1"),
        ({"1.png": None, "1.json": b"{"}, "holds no class"),
        ({"1.png": None, "1.json": b'{"label": "cat"}'}, "the class 'cat'"),
        ({"1.png": None, "1.json": b'{"label": true}'}, "the class True"),
        ({"1.png": None, "1.json": b"[1]"}, "has no class"),
        ({"1.png": None, "1.cls": b"0", "1.json": b'{"label": 1}'}, "says the class 1, another member of its key 0"),
        ({"1.png": None, "1.jpg": None, "1.cls": b"0"}, "have the same key"),
        ({"1.png": None}, "1.png in"),
        ({"1.png": None, "1.cls": b"4", "2.png": None, "2.cls": b"4"}, "only one class, '4'"),
    ],
)
def test_labels_that_are_missing_or_wrong(tmp_path: Path, files: dict[str, bytes | None], words: str) -> None:
    pack(tmp_path / "val.tar", {name: picture(9) if content is None else content for name, content in files.items()})
    assert words in refusal(tmp_path)


def test_parts_that_do_not_agree(shards: Path) -> None:
    pack(shards / "val-0001.tar", {"x.png": picture(1), "x.cls": b"7"})
    assert "has the class '7', of which the training part has no image" in refusal(shards)
    (shards / "val-0001.tar").unlink()
    pack(shards / "val-0000.tar", {"cat/1.png": picture(1), "dog/1.png": picture(1)})
    assert "one part" in refusal(shards)
    assert "numbers its classes and the other names them" in refusal(shards)


def test_a_damaged_image_is_named_when_it_is_met(tmp_path: Path) -> None:
    pack(tmp_path / "val.tar", {"a/1.png": picture(9), "b/2.png": picture(9)[:60]})
    test = load(tmp_path).test
    with pytest.raises(InputError, match=r"cannot read the image b/2\.png in .*val\.tar"):
        list(test.batches(2, 1))


def test_a_shard_that_is_cut_off_later_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "val.tar", {"a/1.png": picture(9), "b/2.png": picture(9)})
    test = load(tmp_path).test
    path.write_bytes(path.read_bytes()[:1100])
    with pytest.raises(InputError, match=r"b/2\.png in .* is cut off"):
        list(test.batches(2, 1))
    path.unlink()
    with pytest.raises(InputError, match=r"1\.png in .*No such file"):
        list(test.batches(2, 1))


def test_offsets_point_at_the_content(tmp_path: Path) -> None:
    files = {f"folder{'y' * 90}/{number}.bin": bytes([number]) * (700 * number) for number in range(5)}
    for style in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        found = list(members(pack(tmp_path / "a.tar", files, style)))
        assert [(member.name, member.read()) for member in found] == list(files.items())


def test_images_of_mixed_size_come_out_alike(tmp_path: Path) -> None:
    sizes = [(40, 30), (30, 90), (200, 150), (5, 5)]
    pack(tmp_path / "val.tar", {f"{name}/{i}.png": picture(9, size) for name in "ab" for i, size in enumerate(sizes)})
    images, _ = next(iter(load(tmp_path, 96).test.batches(8, 1)))
    assert images.shape == (1, 8, 3, 96, 96)
    assert torch.isfinite(images).all()
