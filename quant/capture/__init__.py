"""From a network, whatever it was written with, to a graph of plain operators that can be read and rewritten."""

from quant.capture.graph import Captured, capture
from quant.capture.samples import SamplePlace

__all__ = ["Captured", "SamplePlace", "capture"]
