"""Mel filters and log-mel features against sums written out."""

from __future__ import annotations

import math

import pytest
import torch

from hardware_models.errors import InputError
from neuro.data.speech import log_mel, mel_filters


def hz(mel: float) -> float:
    return 700 * (10 ** (mel / 2595) - 1)


def test_the_scale_has_its_published_fixed_point() -> None:
    # The scale is made so that 1000 Hz are 1000 mel; the one filter from 0 to 2 kHz has its top at half their mel.
    top = 2595 * math.log10(1 + 2000 / 700)
    assert hz(1000) == pytest.approx(1000, abs=0.1)
    only = mel_filters(1, 4000, 4000)[0]
    assert int(only.argmax()) == round(hz(top / 2))
    assert float(only.max()) <= 1
    assert (float(only[0]), float(only[-1])) == pytest.approx((0, 0), abs=1e-6)


def test_a_filter_bank_by_hand() -> None:
    # Two bands of a transform of 8 at 8 kHz: frequencies 0, 1, 2, 3, 4 kHz; corners at thirds of 2146.06 mel.
    low, high = hz(2146.0645 / 3), hz(2 * 2146.0645 / 3)
    assert (low, high) == pytest.approx((620.6, 1791.3), abs=0.1)
    first = [0, (high - 1000) / (high - low), 0, 0, 0]
    second = [0, (1000 - low) / (high - low), (4000 - 2000) / (4000 - high), (4000 - 3000) / (4000 - high), 0]
    torch.testing.assert_close(mel_filters(2, 8, 8000), torch.tensor([first, second]), atol=1e-4, rtol=0)


def test_filters_that_overlap_sum_to_one_between_their_middles() -> None:
    filters = mel_filters(32, 512, 16_000)
    middles = [hz(2840.0230 * i / 33) * 512 / 16_000 for i in (1, 32)]
    inside = filters[:, math.ceil(middles[0]) : math.floor(middles[1]) + 1].sum(0)
    torch.testing.assert_close(inside, torch.ones_like(inside), atol=1e-5, rtol=0)


def test_too_many_bands_are_refused() -> None:
    with pytest.raises(InputError, match="of 200 mel bands hold no frequency of a transform of 512"):
        mel_filters(200, 512, 16_000)
    with pytest.raises(InputError, match="0 mel bands"):
        mel_filters(0, 512, 16_000)


@pytest.mark.parametrize("frame", [0, 1, 77, 127])
def test_features_are_direct_sums_of_the_transform(frame: int) -> None:
    sound = torch.rand(1, 16_000, generator=torch.Generator().manual_seed(frame)) * 2 - 1
    # 193 zeros stand before the sound: the middle of a window of 512 is 63 samples into the 125 of its frame.
    start = 125 * frame - 193
    picked = torch.zeros(512, dtype=torch.float64)
    for n in range(512):
        if 0 <= start + n < 16_000 and 56 <= n < 456:
            picked[n] = float(sound[0, start + n]) * (0.5 - 0.5 * math.cos(2 * math.pi * (n - 56) / 400))
    k, n = torch.arange(257, dtype=torch.float64)[:, None], torch.arange(512, dtype=torch.float64)
    angle = 2 * math.pi * k * n / 512
    power = (angle.cos() @ picked) ** 2 + (angle.sin() @ picked) ** 2
    expected = (mel_filters(32, 512, 16_000).double() @ power + 1e-6).log().float()
    found = log_mel(sound, 32, 16_000)
    assert found.shape == (1, 32, 128)
    torch.testing.assert_close(found[0, :, frame], expected, atol=1e-3, rtol=1e-4)


def test_a_tone_is_loudest_in_the_band_around_it_and_silence_is_the_floor() -> None:
    time = torch.arange(16_000) / 16_000
    tone = log_mel(torch.sin(2 * math.pi * 1500 * time)[None], 32, 16_000)[0]
    middles = [hz(2840.0230 * i / 33) for i in range(1, 33)]
    nearest = min(range(32), key=lambda i: abs(middles[i] - 1500))
    assert (tone[:, 2:-2].argmax(0) == nearest).all()
    torch.testing.assert_close(log_mel(torch.zeros(1, 16_000), 4, 16_000), torch.full((1, 4, 128), math.log(1e-6)))
