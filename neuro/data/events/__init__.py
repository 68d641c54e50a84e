"""Event cameras: reading their recordings, frames in time, and the data sets made of them."""

from neuro.data.events.binning import frames_by_count, frames_by_time
from neuro.data.events.reading import read_events
from neuro.data.events.recording import CutRecordingWarning, Events

__all__ = ["CutRecordingWarning", "Events", "frames_by_count", "frames_by_time", "read_events"]
