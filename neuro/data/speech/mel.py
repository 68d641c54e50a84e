"""Log-mel features: how much power a sound has in bands that are even to the ear, frame by frame.

Source of the scale: S. Young et al., "The HTK Book", Cambridge University, 2006, section 5.4.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from hardware_models.errors import InputError

FFT = 512
WINDOW = 400
"""25 ms at 16 kHz."""
HOP = 125
"""7.8 ms at 16 kHz: one second is 128 frames, which 1, 2, 4 ... timesteps divide."""
FLOOR = 1e-6
"""Power added before the logarithm, so that silence is finite."""


def mel_filters(mels: int, fft: int, rate: int) -> Tensor:
    """Return triangular filters `[mels, fft // 2 + 1]` of height 1, evenly spaced in mel from 0 to half the rate.

    With mel(f) = 2595 log10(1 + f / 700), corners f_0 .. f_{mels+1} evenly spaced in mel, and f_k = k * rate / fft,

        H[m, k] = max(0, min((f_k - f_m) / (f_{m+1} - f_m), (f_{m+2} - f_k) / (f_{m+2} - f_{m+1}))).

    Raises:
        InputError: fewer than one filter, or so many that one falls between two frequencies and stays empty.
    """
    if mels < 1:
        raise InputError(f"there cannot be {mels} mel bands; give at least 1.")
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700, dtype=torch.float64))
    mel = torch.arange(mels + 2, dtype=torch.float64) * top / (mels + 1)
    corners = 700 * (10 ** (mel / 2595) - 1)
    frequencies = torch.arange(fft // 2 + 1, dtype=torch.float64) * rate / fft
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    filters = torch.minimum(rising, falling).clamp(min=0)
    empty = int((filters.sum(1) == 0).sum())
    if empty:
        raise InputError(f"{empty} of {mels} mel bands hold no frequency of a transform of {fft}; give fewer bands.")
    return filters.float()


def log_mel(sound: Tensor, mels: int, rate: int) -> Tensor:
    """Return log-mel features `[B, mels, N / 125]` of sounds `[B, N]` in -1 .. 1; N is a multiple of 125.

    Frame j is centred on the samples 125 j .. 125 j + 124; the sound has zeros before and after it. With X the
    transform of 512 of the frame under a Hann window of 400, and H of `mel_filters`,

        ln(sum_k H[m, k] |X[k, j]|^2 + 1e-6).

    Raises:
        InputError: too many bands; see `mel_filters`.
    """
    outside = FFT - HOP
    padded = functional.pad(sound, (outside // 2, outside - outside // 2))
    window = torch.hann_window(WINDOW, periodic=True)
    spectrum = torch.stft(padded, FFT, HOP, WINDOW, window, center=False, return_complex=True)
    return (_filters(mels, FFT, rate) @ spectrum.abs().square() + FLOOR).log()


_filters = lru_cache(maxsize=4)(mel_filters)
