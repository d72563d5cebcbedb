"""The pages of a run as one PDF, printed by Chromium: what goes out by mail or into a file."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tdsp.core.errors import RunError
from tdsp.core.files import write_atomic
from tdsp.core.project import STAGES

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
SECONDS = 120  # for all pages


def find_browser() -> str:
    """Return the browser that CHROMIUM names, else the first that is installed; raise RunError where there is none."""
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else [*BROWSERS, MAC])), None)
    if found is None:
        absent = f"CHROMIUM names {named!r}, which is no program" if named else "there is no Chromium or Chrome here"
        raise RunError(
            f"--pdf: {absent}. Install one (Debian, Ubuntu: apt install chromium), or print index.html by hand."
        )
    return found


def print_run(folder: Path) -> Path:
    """Write report.pdf into a run folder from its pages, cover first; return its path."""
    browser = find_browser()
    pages = [page for name in ("index", *STAGES) if (page := folder / f"{name}.html").is_file()]
    with tempfile.TemporaryDirectory() as scratch:
        whole, printed = Path(scratch, "report.html"), Path(scratch, "report.pdf")
        whole.write_text(one_page(pages), encoding="utf-8")
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={scratch}/profile"]
        options += ["--no-sandbox"] * (os.geteuid() == 0)  # as root it cannot; the pages hold no script
        command = [browser, *options, f"--print-to-pdf={printed}", whole.as_uri()]
        try:
            output = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).stderr
        except subprocess.TimeoutExpired:
            output = f"no answer within {SECONDS} s".encode()
        if not printed.is_file():
            last = (output.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
            raise RunError(f"--pdf: {browser} printed nothing ({last}). Print index.html from a browser instead.")
        write_atomic(folder / "report.pdf", printed.read_bytes())
    return folder / "report.pdf"


def one_page(pages: Sequence[Path]) -> str:
    """Return several pages as one: the first one's head and foot, links between them kept, other files not linked."""
    number = {page.name: f"page-{i}" for i, page in enumerate(pages)}
    texts = [page.read_text(encoding="utf-8") for page in pages]
    mains = [_main(text, number, own=number[page.name]) for text, page in zip(texts, pages, strict=True)]
    ends = texts[0].partition("<main>")[0], texts[0].partition("</main>")[2]
    head, foot = (re.sub(r'<a [^>]*href="[^"]*"', "<a", end) for end in ends)
    return f"{head}<main>{''.join(mains)}</main>{foot}"


def _main(text: str, number: dict[str, str], *, own: str) -> str:
    """Return what a page says as a section; its places carry the page's name, so that none occurs twice."""

    def aim(match: re.Match[str]) -> str:
        file, hash_sign, place = match[1].partition("#")
        if file and file not in number:
            return ""
        page = number[file] if file else own
        return f' href="#{page}{f"-{place}" if hash_sign else ""}"'

    main = text.partition("<main>")[2].partition("</main>")[0]
    main = re.sub(r' (id|aria-labelledby)="', rf' \1="{own}-', main)
    main = re.sub(r'(?<!<use) href="([^"]*)"', aim, main)
    return f'<section id="{own}" class="sheet">{main}</section>'
