"""The report of a study: one HTML page that opens offline, with its front, its points and what they cost.

write_report(Path("studies/array-shape/points.study"))
"""

from neuro.report.study.page import write_report
from neuro.report.study.pdf import write_pdf

__all__ = ["write_pdf", "write_report"]
