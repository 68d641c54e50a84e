"""Data sets of event recordings: layouts, splits, frames, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from event_files import Event, aedat2, aedat3, aedat3_packet, aedat4, aedat4_events, aedat4_packet, es, evt2, nmnist

from hardware_models.errors import InputError
from neuro.data.base import Split
from neuro.data.batching import Chosen
from neuro.data.events import cifar10_dvs, dvs_gesture, event_folder, event_split, n_mnist, read_events

GESTURE_TABLE = "class,startTime_usec,endTime_usec\n1,0,100\n11,100,200\n"


def digit(label: int, count: int = 4) -> bytes:
    return nmnist([Event(100 * i, label, 2 * i, i % 2) for i in range(count)])


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    for part, count in (("Train", 3), ("Test", 2)):
        for label in range(10):
            (tmp_path / part / str(label)).mkdir(parents=True)
            for number in range(count):
                (tmp_path / part / str(label) / f"{number:05}.bin").write_bytes(digit(label))
    return tmp_path


def first(
    split: Split | None, timesteps: int, batch: int = 100, seed: int | None = None
) -> tuple[torch.Tensor, list[int]]:
    assert split is not None
    images, labels = next(iter(split.batches(batch, timesteps, seed)))
    return images, labels.tolist()


def refusal(load: object, folder: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        first(load.load(folder, **options).train, 2)  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_n_mnist(digits: Path) -> None:
    data = n_mnist.load(digits)
    assert data.train is not None
    assert (len(data.train), len(data.test), data.in_channels, data.image_size) == (30, 20, 2, 34)
    images, labels = first(data.test, 2)
    assert images.shape == (2, 20, 2, 34, 34)
    assert images.dtype == torch.float32
    assert labels == [label for label in range(10) for _ in range(2)]
    # Four events at rows 0, 2, 4, 6 of the label's column, off and on in turn: two in each frame.
    assert images[0, 6].nonzero().tolist() == [[0, 0, 3], [1, 2, 3]]
    assert images[1, 6].nonzero().tolist() == [[0, 4, 3], [1, 6, 3]]
    assert images.sum() == 4 * 20


def test_another_number_of_timesteps_makes_other_frames(digits: Path) -> None:
    test = n_mnist.load(digits, image_size=17).test
    for timesteps in (1, 4, 2):
        images, _ = first(test, timesteps)
        assert images.shape == (timesteps, 20, 2, 17, 17)
        assert images.sum() == 80


def test_recordings_are_read_once_for_a_number_of_timesteps(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = n_mnist.load(digits).test
    first(test, 2)
    for path in digits.rglob("*.bin"):
        path.unlink()
    first(test, 2)
    with pytest.raises(InputError, match=r"00000\.bin cannot be read"):
        first(test, 3)


def test_shuffled_epochs_are_augmented_by_their_seed_alone(digits: Path) -> None:
    data = n_mnist.load(digits)
    whole, labels = first(data.train, 2, 30, seed=5)
    again = [first_batch for first_batch, _ in data.train.batches(7, 2, 5)] if data.train else []
    assert torch.equal(torch.cat(again, 1), whole)
    assert sorted(labels) == [label for label in range(10) for _ in range(3)]
    assert not torch.equal(first(data.train, 2, 30, seed=6)[0], whole)
    rest = list(data.train.batches(7, 2, 5, start=4)) if data.train else []
    assert torch.equal(rest[0][0], again[4])


def test_an_empty_part_of_a_batch_keeps_its_shape(digits: Path) -> None:
    train = n_mnist.load(digits).train
    assert isinstance(train, event_split.EventSplit)
    images, labels = train.gather(Chosen(torch.arange(0), torch.rand(0, 2)), 3)
    assert images.shape == (3, 0, 2, 34, 34)
    assert labels.shape == (0,)


def test_limits_and_layouts(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outer = tmp_path_factory.mktemp("outer")
    digits.rename(outer / "NMNIST")
    data = n_mnist.load(outer, train_limit=10, test_limit=5)
    assert data.train is not None
    assert sorted(first(data.train, 1)[1]) == list(range(10))
    assert len(data.test) == 5
    assert "10 to train and 5 to test" in data.source


def test_large_counts_are_kept(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name, count in (("many", 40_000), ("some", 300)):
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / "a.bin").write_bytes(nmnist([Event(1, 2, 3, 1)]) * count)
    images, _ = first(event_folder.load(tmp_path, image_size=34).test, 1)
    assert images[0, :, 1, 3, 2].tolist() == [40_000, 300]


def test_what_is_wrong_with_n_mnist(digits: Path) -> None:
    assert "at most 34" in refusal(n_mnist, digits, image_size=35)
    assert "'weight'" in refusal(n_mnist, digits, binning="weight")
    (digits / "Train" / "4" / "00001.bin").write_bytes(b"abc")
    assert "00001.bin holds no whole event" in refusal(n_mnist, digits)
    for path in (digits / "Train" / "4").iterdir():
        path.unlink()
    assert f"{digits / 'Train' / '4'} holds no recording" in refusal(n_mnist, digits)
    (digits / "Train" / "4").rmdir()
    assert "lacks the class folders 4" in refusal(n_mnist, digits)
    assert "N-MNIST is not in" in refusal(n_mnist, digits / "absent")


@pytest.fixture
def gestures(tmp_path: Path) -> Path:
    for user, part in (("user01_led", "train"), ("user24_led", "test")):
        events = [Event(10 * i, i, 2 * i, 1) for i in range(20)]
        (tmp_path / f"{user}.aedat").write_bytes(aedat3(aedat3_packet(events)))
        (tmp_path / f"{user}_labels.csv").write_text(GESTURE_TABLE)
        (tmp_path / f"trials_to_{part}.txt").write_text(f"{user}.aedat\n")
    return tmp_path


def test_dvs_gesture_cuts_recordings_by_their_tables(gestures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dvs_gesture.load(gestures, binning="time")
    images, labels = first(data.test, 2)
    assert (len(data.classes), data.image_size) == (11, 128)
    assert labels == [0, 10]
    # Events at 0, 10 .. 90 us in the first gesture, 100 .. 190 in the second; halves of the time have five each.
    columns = [[images[t, b].nonzero()[:, 2].tolist() for b in range(2)] for t in range(2)]
    assert columns == [[[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]], [[5, 6, 7, 8, 9], [15, 16, 17, 18, 19]]]


def test_a_recording_of_many_gestures_is_read_once(gestures: Path) -> None:
    test = dvs_gesture.load(gestures).test
    assert isinstance(test, event_split.EventSplit)
    read, paths = test.read, []
    test.read = lambda path: (paths.append(path), read(path))[1]
    first(test, 4)
    assert paths == [gestures / "user24_led.aedat"]


def test_dvs_gesture_of_tonic(tmp_path: Path) -> None:
    for part in ("Train", "Test"):
        folder = tmp_path / f"ibmGesture{part}" / "user01_led"
        folder.mkdir(parents=True)
        for label in (0, 10):
            np.save(folder / f"{label}.npy", np.array([[label, 3, 1, 0.0], [label, 3, 0, 5.0]]))
    images, labels = first(dvs_gesture.load(tmp_path).test, 1)
    assert labels == [0, 10]
    assert images[0, 1].nonzero().tolist() == [[0, 3, 10], [1, 3, 10]]
    np.save(tmp_path / "ibmGestureTest" / "user01_led" / "11.npy", np.zeros((1, 4)))
    assert "not named by a class from 0 to 10" in refusal(dvs_gesture, tmp_path)


def test_what_is_wrong_with_dvs_gesture(gestures: Path, tmp_path: Path) -> None:
    table = gestures / "user01_led_labels.csv"
    table.write_text(GESTURE_TABLE + "12,200,300\n")
    assert "the class 12" in refusal(dvs_gesture, gestures)
    table.write_text(GESTURE_TABLE + "1,x,300\n")
    assert "lacks whole numbers" in refusal(dvs_gesture, gestures)
    table.write_text(GESTURE_TABLE + "2,500,600\n")
    assert "no event between 500 and 600 us" in refusal(dvs_gesture, gestures)
    table.unlink()
    assert f"{table} cannot be read" in refusal(dvs_gesture, gestures)
    (gestures / "trials_to_train.txt").write_text("user99.aedat\n")
    assert "lists user99.aedat" in refusal(dvs_gesture, gestures)
    (gestures / "trials_to_train.txt").unlink()
    assert "neither trials_to_train.txt" in refusal(dvs_gesture, gestures)


def test_cifar10_dvs_holds_out_a_tenth_and_stands_upright(tmp_path: Path) -> None:
    for name in cifar10_dvs.CLASSES:
        (tmp_path / name).mkdir()
        for number in range(10):
            (tmp_path / name / f"{number}.aedat").write_bytes(aedat2([Event(number, 5, 9, 1)]))
    data = cifar10_dvs.load(tmp_path)
    images, labels = first(data.test, 1)
    assert data.train is not None
    assert (len(data.train), labels) == (90, list(range(10)))
    assert images[0, 0].nonzero().tolist() == [[1, 5, 9]]  # row 5, column 9: exchanged
    assert "10% of each class held out (split seed 0)" in data.source
    again = cifar10_dvs.load(tmp_path, split_seed=1)
    assert [s.path for s in again.test.samples] != [s.path for s in data.test.samples]  # type: ignore[attr-defined]


def test_cifar10_dvs_of_tonic_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    path.write_bytes(aedat4(aedat4_packet(aedat4_events([Event(1, 5, 9, 1)]))))
    events = cifar10_dvs.read_upright(path)
    assert (events.x.tolist(), events.y.tolist()) == ([5], [9])


def test_a_folder_of_any_formats(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name, ending, content in (
            ("left", "es", es([Event(1, 0, 0, 1)])),
            ("right", "raw", evt2([Event(70, 319, 239, 1)], "% evt 2.0\n")),
        ):
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / f"a.{ending}").write_bytes(content)
    assert "does not state the size" in refusal(event_folder, tmp_path)
    (tmp_path / "geometry.txt").write_text("320x240\n")
    data = event_folder.load(tmp_path, image_size=32)
    assert data.classes == ("left", "right")
    images, labels = first(data.train, 1, seed=1)
    order = sorted(zip(labels, images[0].nonzero().tolist(), strict=True))
    # 320x240 in the middle of 320x320: rows 40 to 279, ten to a cell.
    assert [place[1:] for _, place in order] == [[1, 4, 0], [1, 27, 31]]


def test_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    assert "cannot look into" in refusal(event_folder, tmp_path)
    (tmp_path / "train" / "a").mkdir(parents=True)
    assert "has 1 class folders" in refusal(event_folder, tmp_path)
    for name in ("train/b", "test/a", "test/c"):
        (tmp_path / name).mkdir(parents=True)
    assert "only one of train and test in" in refusal(event_folder, tmp_path)
    (tmp_path / "test" / "c").rename(tmp_path / "test" / "b")
    assert "holds no recording (.raw, .dat" in refusal(event_folder, tmp_path)
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name / "x.bin").write_bytes(digit(1))
    (tmp_path / "geometry.txt").write_text("wide")
    assert "'wide', not WIDTHxHEIGHT" in refusal(event_folder, tmp_path)
    (tmp_path / "geometry.txt").unlink()
    assert "give an image size of at most 34" in refusal(event_folder, tmp_path)


def test_an_unknown_ending(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known by its ending"):
        read_events(tmp_path / "a.csv")
