"""`python -m tests.report FOLDER` writes the made-up runs with their reports, to look at them."""

from __future__ import annotations

import sys
from pathlib import Path

from neuro.report import RunDocuments, render_html

from .network import network_documents
from .synthetic import small_documents, write_run


def _write(documents: RunDocuments, folder: Path) -> None:
    write_run(documents, folder)
    (folder / "report.html").write_text(render_html(RunDocuments.load(folder)), encoding="utf-8")
    print(folder / "report.html")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    _write(small_documents(), root / "small")
    _write(network_documents(), root / "network")
    _write(network_documents(blocks=33), root / "deep")
    _write(network_documents(blocks=16, timesteps=32, epochs=60), root / "wide")
    _write(small_documents('</script><img src=x onerror=alert(1)>"' + "long" * 40), root / "hostile")
