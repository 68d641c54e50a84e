"""Spoken words: reading their recordings, log-mel features in time, and the data sets made of them."""

from neuro.data.speech.mel import log_mel, mel_filters
from neuro.data.speech.wav import read_wav

__all__ = ["log_mel", "mel_filters", "read_wav"]
