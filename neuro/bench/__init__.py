"""Speed of the kernels beside their peers, in one run: `neuro bench`.

Peers are timed where they are installed (`pip install neuro[peers]`) and named as missing where they are not.
"""

from neuro.bench.case import Case, Contender, Result
from neuro.bench.setting import Setting
from neuro.bench.tables import TABLES, measure

__all__ = ["TABLES", "Case", "Contender", "Result", "Setting", "measure"]
