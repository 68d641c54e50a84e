"""Speech Commands: layouts, parts, features in time, and what can be wrong with them."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from hardware_models.errors import InputError
from neuro.data.base import Dataset
from neuro.data.speech import log_mel, read_wav, speech_commands, speech_commands_12
from neuro.data.speech.word_clips import WORDS


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000, channels: int = 1, width: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def noise(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-20_000, 20_000, count)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each word has four clips: two to train (the second one short), one to validate, one to test."""
    root = tmp_path_factory.mktemp("speech")
    for number, word in enumerate(WORDS):
        for clip, length in enumerate((16_000, 3_000, 500, 8_000)):
            write_wav(root / word / f"{clip}.wav", noise(10 * number + clip, length))
    (root / "validation_list.txt").write_text("".join(f"{word}/2.wav\n" for word in WORDS))
    (root / "testing_list.txt").write_text("".join(f"{word}/3.wav\n" for word in WORDS))
    write_wav(root / "_background_noise_" / "hum.wav", np.full(100_000, 1_000))
    write_wav(root / "_background_noise_" / "hiss.wav", noise(1, 90_000))
    return root


def batches(data: Dataset, timesteps: int, part: str = "test") -> tuple[torch.Tensor, list[int]]:
    split = data.train if part == "train" else data.test
    assert split is not None
    found = list(split.batches(16, timesteps))
    return torch.cat([images for images, _ in found], 1), torch.cat([labels for _, labels in found]).tolist()


def test_the_lists_part_the_clips(spoken: Path) -> None:
    data = speech_commands.load(spoken)
    assert data.train is not None
    assert (len(data.train), len(data.test), len(data.classes)) == (70, 35, 35)
    assert batches(data, 4)[1] == list(range(35))
    assert data.classes[33] == "yes"
    assert "35 validation clips left out" in data.source


def test_features_stand_in_time(spoken: Path) -> None:
    data = speech_commands.load(spoken)
    sound = torch.zeros(1, 16_000)
    sound[0, :8_000] = torch.from_numpy(noise(3, 8_000) / 32768).float()  # zeros after a short clip
    expected = log_mel(sound, 32, 16_000)[0]
    mean, std = data.test.normalise.mean[0], data.test.normalise.std[0]
    for timesteps in (1, 4, 128):
        images, _ = batches(data, timesteps)
        assert images.shape == (timesteps, 35, 1, 32, 128 // timesteps)
        assert images.dtype == torch.float32
        whole = torch.cat(list(images[:, 0, 0]), dim=-1) * std + mean
        torch.testing.assert_close(whole, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="3 timesteps do not divide the 128 frames"):
        data.test.batches(1, 3)


def test_training_clips_are_normalised(spoken: Path) -> None:
    data = speech_commands.load(spoken, image_size=16, train_limit=35)
    assert data.image_size == 16
    full = speech_commands.load(spoken, image_size=16)
    images, _ = batches(full, 2, "train")
    assert float(images.mean()) == pytest.approx(0, abs=1e-4)
    assert float(images.std()) == pytest.approx(1, abs=1e-4)
    assert data.test.normalise == full.test.normalise  # a limit changes the samples, not their meaning


def test_twelve_classes(spoken: Path) -> None:
    data = speech_commands_12.load(spoken)
    assert data.classes[-2:] == ("unknown", "silence")
    _, labels = batches(data, 1, "train")
    counts = [labels.count(label) for label in range(12)]
    assert counts == [2] * 10 + [2, 2]  # a tenth of twenty
    assert [batches(data, 1)[1].count(label) for label in range(12)] == [1] * 12
    assert data.train is not None
    unknown = [c.path.parent.name for c in data.train.clips if c.label == 10]  # type: ignore[attr-defined]
    assert not set(unknown) & set(data.classes)
    again = speech_commands_12.load(spoken)
    assert again.train is not None
    assert again.train.clips == data.train.clips  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(5))
def test_silence_to_train_and_to_test_never_overlaps(spoken: Path, seed: int) -> None:
    data = speech_commands_12.load(spoken, split_seed=seed)
    for split, in_part in ((data.train, lambda s, n: s + 16_000 <= 0.8 * n), (data.test, lambda s, n: s >= 0.8 * n)):
        silent = [clip for clip in split.clips if clip.label == 11]  # type: ignore[union-attr]
        lengths = {"hum.wav": 100_000, "hiss.wav": 90_000}
        assert silent
        assert all(in_part(clip.start, lengths[clip.path.name]) for clip in silent)
        assert all(clip.start + 16_000 <= lengths[clip.path.name] for clip in silent)


def test_reading_a_part_of_a_wav(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.array([1, -2, 300, -32768]))
    assert read_wav(tmp_path / "a.wav").tolist() == [1, -2, 300, -32768]
    assert read_wav(tmp_path / "a.wav", start=1, count=2).tolist() == [-2, 300]
    with pytest.raises(InputError, match="has 4 samples, not 5"):
        read_wav(tmp_path / "a.wav", start=3, count=2)


def test_a_wav_written_by_hand(tmp_path: Path) -> None:
    data = struct.pack("<3h", 7, -7, 32767)
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert read_wav(tmp_path / "a.wav").tolist() == [7, -7, 32767]
    (tmp_path / "a.wav").write_bytes((b"RIFF" + struct.pack("<I", len(body)) + body)[:-2])
    with pytest.raises(InputError, match=r"a\.wav is cut short: 4 bytes of 6"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"rate": 8_000}, "1 channels of 16 bits at 8000 Hz"),
        ({"channels": 2}, "2 channels of 16 bits"),
        ({"width": 1}, "1 channels of 8 bits"),
    ],
)
def test_other_forms_of_sound_are_refused_by_name(tmp_path: Path, form: dict[str, int], words: str) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(100), **form)
    with pytest.raises(InputError, match=words) as caught:
        read_wav(tmp_path / "a.wav")
    assert "a.wav" in str(caught.value)
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(InputError, match="cannot be read as 16-bit PCM"):
        read_wav(tmp_path / "a.wav")


def test_what_is_wrong_with_the_folder(spoken: Path, tmp_path: Path) -> None:
    def refusal(module: object = speech_commands) -> str:
        with pytest.raises(InputError) as caught:
            batches(module.load(root), 1, "train")  # type: ignore[attr-defined]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    root = tmp_path / "speech"
    assert "lacks backward, bed" in refusal()
    root.mkdir()
    for path in spoken.iterdir():
        if path.name != "_background_noise_":
            (root / path.name).symlink_to(path)
    assert "there is no recording of noise" in refusal(speech_commands_12)
    write_wav(root / "_background_noise_" / "short.wav", np.zeros(20_000))
    assert "short.wav has 20000 samples, too few" in refusal(speech_commands_12)
    (root / "yes").unlink()
    write_wav(root / "yes" / "0.wav", noise(1, 16_001))
    assert "yes/2.wav and 0 more that are not there" in refusal()
    for clip in (2, 3):
        write_wav(root / "yes" / f"{clip}.wav", noise(1, 100))
    assert "0.wav has 16001 samples, more than one second" in refusal()
    (root / "yes" / "0.wav").unlink()
    assert "yes has no clip to train on" in refusal()
    (root / "testing_list.txt").unlink()
    assert "lacks testing_list.txt" in refusal()
