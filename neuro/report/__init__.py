"""Reading a run: one self-contained HTML page, and the same as Markdown, CSV and JSON. Works without torch.

documents = RunDocuments.load(Path("runs/spikeformer_v2-tiny"))
page = render_html(documents)
"""

from neuro.report.audit import AccumulateOnlyShare, AuditRow, accumulate_only_share, audit
from neuro.report.documents import Estimates, RunDocuments
from neuro.report.html import render_html, write_report
from neuro.report.tables import print_summary, to_csv, to_json, to_markdown

__all__ = [
    "AccumulateOnlyShare",
    "AuditRow",
    "Estimates",
    "RunDocuments",
    "accumulate_only_share",
    "audit",
    "print_summary",
    "render_html",
    "to_csv",
    "to_json",
    "to_markdown",
    "write_report",
]
