"""Recordings in WAV: one channel of 16-bit numbers at the rate of the data set."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware_models.errors import InputError

RATE = 16_000


def wav_length(path: Path, rate: int = RATE) -> int:
    """Return the number of samples that a file states; see `read_wav` for what is refused."""
    return _read(path, rate, 0, 0)[1]


def read_wav(path: Path, rate: int = RATE, start: int = 0, count: int | None = None) -> NDArray[np.int16]:
    """Return samples `[N]` of a 16-bit PCM file with one channel.

    Args:
        path: the file.
        rate: samples a second that the file must have.
        start: first sample.
        count: samples from there on; None takes all.

    Raises:
        InputError: it is missing or damaged, has another rate, width or number of channels, or fewer samples.
    """
    return _read(path, rate, start, count)[0]


def _read(path: Path, rate: int, start: int, count: int | None) -> tuple[NDArray[np.int16], int]:
    try:
        with path.open("rb") as file, wave.open(file) as recording:
            form = recording.getnchannels(), 8 * recording.getsampwidth(), recording.getframerate()
            if form != (1, 16, rate):
                raise InputError(
                    f"{path} has {form[0]} channels of {form[1]} bits at {form[2]} Hz, not 1 of 16 bits at {rate} Hz; "
                    "convert it."
                )
            length = recording.getnframes()
            wanted = length - start if count is None else count
            if wanted < 0 or start + wanted > length:
                raise InputError(f"{path} has {length} samples, not {start + wanted}; fetch it again.")
            recording.setpos(start)
            content = recording.readframes(wanted)
    except (OSError, EOFError, wave.Error) as error:
        raise InputError(
            f"{path} cannot be read as 16-bit PCM in WAV ({error}); convert it or fetch it again."
        ) from error
    if len(content) != 2 * wanted:
        raise InputError(f"{path} is cut short: {len(content)} bytes of {2 * wanted}; fetch it again.")
    return np.frombuffer(content, "<i2").astype(np.int16), length
