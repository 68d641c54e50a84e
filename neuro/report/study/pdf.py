"""The page as PDF, printed by a browser that is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from hardware_models.errors import InputError, RunError

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Commands of browsers that print to PDF, in the order in which they are tried."""

_PATIENCE_S: Final = 120.0
_PAGE_MS: Final = 20_000


def write_pdf(page: Path, out: Path) -> Path:
    """Print the HTML file `page` to the PDF file `out` with Chromium, and return `out`.

    Raises:
        InputError: no page there, or no Chromium installed.
        RunError: the browser fails.
    """
    if not page.is_file():
        raise InputError(f"{page} is no file; give the HTML page to print.")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise InputError(f"a PDF is printed by Chromium, and none of {', '.join(BROWSERS)} is installed; install one.")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "page.pdf"
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"),
            *(f"--user-data-dir={folder}/profile", f"--virtual-time-budget={_PAGE_MS}"),
            *(f"--print-to-pdf={made}", page.resolve().as_uri()),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
        except subprocess.TimeoutExpired:
            raise RunError(f"{browser} did not print {page} in {_PATIENCE_S:g} s; print it by hand.") from None
        if done.returncode or not made.is_file():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise RunError(f"{browser} could not print {page} ({last}); print it by hand.")
        _put(made, out)
    return out


def _put(made: Path, out: Path) -> None:
    try:
        shutil.copyfile(made, out)
    except OSError as error:
        raise RunError(f"could not write {out}: {error.strerror or error}; give another folder.") from error
