"""The numbers that a page shows, and those that a run has under no key."""

import csv
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

SILENT = {"style", "title", "svg", "code", "pre", "summary", "nav", "header", "footer", "h1", "h2"}
FIXED = re.compile(  # what the design says and no run computes: dates, times, hashes, versions, names with digits
    r"\d{1,2} [A-Z][a-z]{2} \d{4}(, \d\d:\d\d( UTC)?)?|\d{4}-\d\d-\d\d([T ][\d:.]+)?"
    r"|\b[\w…]*[a-z_]\w*\d[\w…]*|\b\d+\w*[a-z_…]\w*|\d+(\.\d+){2,}|95\s% interval|\bin 100\b|\b9[59] of 100\b"
    r"|\band \d+ more\b|\babout [\d,]+ more [\w ]+ would decide"
    r"|(?<!\w)'[^']{1,40}'(?!\w)"  # a cell as it is in the file
    r"|\b[1-5] (Business|Data|Modeling|Deployment|Acceptance)|stage [1-5]"
)
NUMBER = re.compile(
    r"(?<![\w.,])[−-]?(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(e[−-]?\d+)?\s?(%|ms|s|min|B|KB|MB|points?|times)?(?![\w.]*\w)"
)
_N = r"([−-]?\d[\d,]*(?:\.\d+)?)(?![\d])"
TRIPLE = re.compile(rf"{_N}\D{{1,40}}?95\s% interval {_N} to {_N}")
SCALES = {"%": (1, 100), "ms": (1, 1000), "s": (1, 0.001), "B": (1,), "KB": (1e-3,), "MB": (1, 1e-6), "min": (1 / 60,),
          "points": (1, 100), "point": (1, 100), "times": (1, 100)}  # fmt: skip


class _Text(HTMLParser):
    """The text of `main` as blocks, without code, navigation and the meanings of words."""

    def __init__(self, page: str):
        super().__init__()
        self.blocks, self.depth = [""], 0
        main = page.partition("<main>")[2].partition("</main>")[0]
        self.feed(main.partition("<h2>Words on this page</h2>")[0])

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.depth += tag in SILENT
        if tag in ("p", "td", "th", "li", "dd", "dt", "caption", "section", "div", "tr", "br"):
            self.blocks.append("")
        if tag == "img" and not self.depth:
            self.blocks += [dict(attributes).get("alt") or "", ""]

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self.depth:
            self.blocks[-1] += data


def blocks_of(page: str) -> list[str]:
    """The texts of a page that may hold a number, a table cell or a paragraph each."""
    return [text for block in _Text(page).blocks if re.search(r"\d", text := " ".join(block.split()))]


def values_of(thing: Any) -> Iterator[float]:
    """All numbers below a result, those inside its texts and the lengths of its lists included."""
    if isinstance(thing, bool) or thing is None:
        return
    if isinstance(thing, int | float):
        yield float(thing)
    elif isinstance(thing, str):
        yield from (float(x.replace(",", "")) for x in re.findall(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", thing))
    else:
        yield float(len(thing))
        for item in [*thing.values(), *map(str, thing)] if isinstance(thing, dict) else thing:
            yield from values_of(item)


def results_of(folder: Path) -> set[float]:
    """All numbers that a run has under a key: its record without its sentences, and its artifacts."""
    record = json.loads((folder / "run.json").read_text())
    for entry in [*record["stages"], *record["gates"]]:
        (entry.get("headline") or {}).pop("sentence", None)
        entry.pop("note", None)
    found = set(values_of(record))
    reference = folder / "model" / "reference.json"
    own = json.loads(reference.read_text())["windows"] if reference.exists() else {}
    found.update(float(len(windows["rows"])) for windows in own.values())
    found.update(float(size) for size in own if size.isdigit())
    for path in (folder / "artifacts").rglob("*"):
        if path.suffix == ".json" and path.name != "reference.json":  # distributions, which no page shows
            found.update(values_of(json.loads(path.read_text())))
        elif path.suffix == ".csv":
            found.update(values_of(list(csv.DictReader(io.StringIO(path.read_text())))))
    return found


def estimates_of(folder: Path) -> list[tuple[float, float, float]]:
    """Value and bounds of everything in the record, of candidates and of measures, that has an interval."""
    record = json.loads((folder / "run.json").read_text())
    rows = [row for stage in record["stages"] for row in (stage.get("headline") or {}).get("ladder") or ()]
    entries = [*record["metrics"].values(), *record["gates"], *rows]
    for path in (folder / "artifacts").glob("*.csv"):
        entries += list(csv.DictReader(io.StringIO(path.read_text())))
    names = ("value", "low", "high"), ("last_doubling", "last_doubling_low", "last_doubling_high")
    full = [[entry.get(k) for k in three] for entry in entries for three in names]
    return [tuple(map(float, e)) for e in full if all(re.fullmatch(r"-?[\d.]+(e-?\d+)?", str(x)) for x in e)]


def _close(text: str, value: float, scale: float = 1) -> bool:
    """Whether a printed number is a value, rounded."""
    printed = text.replace(",", "").replace("−", "-")
    return abs(abs(value) * scale - abs(float(printed))) <= 0.50005 * 10.0 ** int(Decimal(printed).as_tuple().exponent)


def unfounded(page: str, results: set[float], estimates: list[tuple[float, float, float]]) -> list[str]:
    """The numbers of a page that are no result of the run, each with its surroundings."""
    return [found for block in blocks_of(page) for found in unfounded_in(block, results, estimates)]


def unfounded_in(block: str, results: set[float], estimates: list[tuple[float, float, float]]) -> list[str]:
    """The same of one cell or paragraph."""
    threes = [m for m in TRIPLE.finditer(block) if not any(_same(m, found) for found in estimates)]
    singles = [m for m in NUMBER.finditer(FIXED.sub(" · ", block)) if not _known(m, results)]
    return [f"{m[0]!r} in {block[:80]!r}" for m in (*threes, *singles)]


def _same(printed: re.Match[str], found: tuple[float, float, float]) -> bool:
    return all(_close(text, value) for text, value in zip(printed.groups(), found, strict=True))


def _known(printed: re.Match[str], results: set[float]) -> bool:
    text, scales = printed[0].removesuffix(printed[4] or "").strip(), SCALES.get(printed[4] or "", (1,))
    return any(_close(text, value, scale) for value in results for scale in scales)
