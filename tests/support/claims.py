"""Each sentence of the verdict, gate, step and headline parts of a run's pages, checked against run.json.

A sentence makes a claim about the record. Each kind of claim has a pattern that finds it and a check that computes it
anew from the numbers of the record; a sentence that no pattern finds is reported, so that none stays unread. Beyond
these parts each cell and paragraph with a number, on all pages, documents and the model card, claims that its numbers
are results of the run.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tests.support.page_numbers import blocks_of, estimates_of, results_of, unfounded_in

STAGES = ("1_business_understanding", "2_data_acquisition", "3_modeling", "4_deployment", "5_customer_acceptance")
N = r"([−-]?[\d,]+(?:\.\d+)?(?:e[−-]?\d+)?)"


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of a page and whether the record bears it out; None: no pattern knows the sentence."""

    page: str
    text: str
    holds: bool | None


def number(text: str) -> float:
    """The number that a page shows."""
    return float(text.replace(",", "").replace("−", "-"))


def shows(text: str, value: float) -> bool:
    """Whether a shown number is this value, rounded to the shown digits."""
    shown, digits = number(text), text.replace("−", "-")
    if "e" in digits:
        return math.isclose(shown, value, rel_tol=0.06)
    decimals = len(digits.partition(".")[2])
    return abs(shown - value) <= 0.5 * 10**-decimals * (1 + 1e-6) + 1e-12 or math.isclose(shown, value, rel_tol=6e-4)


def states(text: str, limit: float) -> bool:
    """Whether a shown number is this limit as it was stated: four digits of it, not rounded to fewer."""
    return math.isclose(number(text), limit, rel_tol=6e-5, abs_tol=1e-12) or number(text) in (
        float(f"{limit:.3g}"),
        float(f"{limit:.4g}"),
    )


def answer_of(gate: dict[str, Any]) -> str:
    """The answer that value, bounds, rule and limit of a gate give, computed without the package."""
    value, low, high, limit = (gate[k] if gate[k] is not None else math.nan for k in ("value", "low", "high", "limit"))
    if not (math.isfinite(value) and math.isfinite(limit) and low <= high):
        return "insufficient evidence" if gate.get("testable", True) else "not testable"
    keeps: Callable[[float], bool] = {
        ">=": lambda x: x >= limit, ">": lambda x: x > limit, "<=": lambda x: x <= limit
    }[gate["rule"]]  # fmt: skip
    kept = [keeps(low), keeps(high)]
    if not any(kept):
        return "no-go"
    if not gate.get("testable", True):
        return "not testable"
    return "go" if all(kept) or gate.get("disproof") else "insufficient evidence"


class Checker:
    """The record of a run, and the checks of sentences against it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.record = json.loads((folder / "run.json").read_text())
        self.goal = self.artifact("goal")
        self.gates, self.metrics = self.record["gates"], self.record["metrics"]
        self.page = ""

    def artifact(self, name: str) -> dict[str, Any]:
        """A result that the run kept as JSON."""
        kept: dict[str, Any] = json.loads((self.folder / "artifacts" / f"{name}.json").read_text())
        return kept

    def text(self, name: str) -> str:
        """The text of a file among the artifacts."""
        return (self.folder / "artifacts" / name).read_text(encoding="utf-8")

    def fact(self, name: str) -> Any:
        """The value of a fact; None where there is none."""
        return self.record["facts"].get(name, {}).get("value")

    def gates_of_page(self) -> list[dict[str, Any]]:
        """The gates that a sentence of this page counts: all on the first and last, else those of the stage."""
        whole = self.page in ("index", STAGES[-1])
        return [gate for gate in self.gates if whole or gate["stage"] == self.page]

    def named(self, answer: str, names: str) -> bool:
        """Whether exactly these gates have the answer."""
        found = [gate["name"] for gate in self.gates_of_page() if answer_of(gate) == answer]
        return bool(found) and sorted(re.split(r", | and ", names)) == sorted(
            part for name in found for part in re.split(r", | and ", name)
        )

    def counted(self, passed: str, of: str) -> bool:
        """Whether so many of the gates passed."""
        outcomes = [answer_of(gate) for gate in self.gates_of_page()]
        return (int(passed), int(of)) == (outcomes.count("go"), len(outcomes))

    def reached(self, how: str) -> bool:
        """Whether the interval of the packaged model's score lies where the sentence says."""
        metric, sign = self.metrics["accepted_score"], 1 if self.goal["higher_is_better"] else -1
        low, high = (metric[k] if metric[k] is not None else math.nan for k in ("low", "high"))
        limit, ends = sign * self.goal["limit"], sorted((sign * low, sign * high))
        stated = "no_threshold" not in self.goal.get("unstated", [])
        if stated == ("guess" in how):
            return False
        if re.match("reaches|is better", how):
            return ends[0] >= limit
        return ends[1] < limit if re.match("misses|is worse", how) else not (ends[0] >= limit or ends[1] < limit)

    def gate_sentence(self, name: str, value: str, low: str | None, high: str | None, rule: str, limit: str) -> bool:
        """Whether a gate of this name has these numbers."""
        signs = {"≥": ">=", "≤": "<=", ">": ">"}
        for gate in self.gates:
            same = gate["name"] == name and (gate["rule"] == signs[rule] or gate["limit"] < 1e-300)
            ends = [(low, gate["low"]), (high, gate["high"])]
            bounds = low is None or all(end is not None and shows(shown or "", end) for shown, end in ends)
            if (
                same
                and bounds
                and states(limit, gate["limit"])
                and gate["value"] is not None
                and shows(value, gate["value"])
            ):
                return True
        return False

    def missing(self, unit: str) -> list[tuple[int, float]]:
        """The units of each undecided gate with an interval, and how many times as many more it needs."""
        found = []
        for gate in self.gates:
            for metric in self.metrics.values():
                same = gate["low"] is not None and all(metric[k] == gate[k] for k in ("value", "low", "high"))
                if same and answer_of(gate) == "insufficient evidence" and metric["resampled"] == unit:
                    upper = gate["value"] > gate["limit"]
                    half = gate["value"] - gate["low"] if upper else gate["high"] - gate["value"]
                    distance = max(abs(gate["value"] - gate["limit"]), 1e-300)
                    found.append((metric["n"], (half / distance) ** 2 - 1))
        return found

    def would_decide(self, more: str, unit: str) -> bool:
        """Whether an undecided gate becomes clear with so many units more, its value kept."""
        return any(math.isclose(number(more), n * times, rel_tol=0.1) for n, times in self.missing(unit))

    def is_near(self, times: str, unit: str) -> bool:
        """Whether an undecided gate with an interval stays open with so many times its units, its value kept."""
        return any(needed > 0.9 * number(times) for _, needed in self.missing(unit))

    def resampled(self, n: str, unit: str) -> bool:
        """Whether an interval of the run comes from so many of these units."""
        return any((m["n"], m["resampled"]) == (int(number(n)), unit) for m in self.metrics.values())

    def unstated(self, names: str) -> bool:
        """Whether exactly these are not stated."""
        return [f"no_{name}" for name in re.findall(r"`(\w+)`", names)] == list(self.fact("unstated") or [])

    def score(self, value: str, low: str, high: str, n: str, unit: str) -> bool:
        """Whether this is the score on the test set."""
        m = self.metrics["test_score"]
        numbers = zip((value, low, high), ("value", "low", "high"), strict=True)
        return all(shows(text, m[key]) for text, key in numbers) and (m["n"], m["resampled"]) == (int(number(n)), unit)

    def lead(self, value: str, way: str, sure: str) -> bool:
        """Whether the lead over the baseline has this size, side and certainty."""
        m = self.metrics["gain_over_baseline"]
        word = "beyond noise" if m["low"] > 0 else "worse than the baseline" if m["high"] < 0 else "not beyond noise"
        return shows(value, abs(m["value"])) and (way == "better than") == (m["value"] >= 0) and sure == word

    def check(self, text: str) -> bool | None:
        """Whether the record bears a sentence out; None where no pattern knows it."""
        for pattern, holds in PATTERNS:
            if found := re.fullmatch(pattern, text):
                return bool(holds(self, *found.groups()))
        return None


def _outcomes(checker: Checker) -> list[str]:
    return [answer_of(gate) for gate in checker.gates]


def _reach(checker: Checker, rows: str, width: str, wanted: str, end: str) -> bool:
    """Whether the first stage has computed this half width for these rows, and the rows that are needed."""
    table = pd.read_csv(checker.folder / "artifacts" / "reach.csv", dtype=str)
    found = dict(zip(table["what"], table["value"], strict=True))
    needed = f"for which {int(number(found['rows_needed'])):,} are needed"
    numbers = ((rows, "test_rows"), (width, "half_width"), (wanted, "wanted"))
    fits = all(shows(text, number(found[name])) for text, name in numbers)
    return fits and end == ("so they are enough" if found["reachable"] == "yes" else needed)


NAMES = r"(.+)"
PATTERNS: list[tuple[str, Callable[..., Any]]] = [
    (r"(\d+) of (\d+) gates? passed\.", Checker.counted),
    (rf"Not passed: {NAMES}\.", lambda c, names: c.named("no-go", names)),
    (rf"Cannot be decided yet: {NAMES}\.", lambda c, names: c.named("insufficient evidence", names)),
    (rf"Not testable with these rows: {NAMES}\.", lambda c, names: c.named("not testable", names)),
    (r"On the test rows, the packaged model (.+), and breaks another rule\.",
     lambda c, how: c.reached(how) and c.record["verdict"] == "rejected"),
    (r"On the test rows, the packaged model (.+); what is enough, nobody has stated\.",
     lambda c, how: c.reached(how) and c.record["verdict"] == "insufficient evidence"),
    (r"On the test rows, the packaged model (.+), and no question is stated\.",
     lambda c, how: c.reached(how) and c.goal["unstated"] == ["no_question"]),
    (r"On the test rows, the packaged model ([^,;]+)\.", Checker.reached),
    (rf"Limit {N}[^,]*, set before the run\.",
     lambda c, limit: states(limit, c.goal["limit"]) and c.record["parameters"]["threshold"]["value"] != 0),
    (rf"No threshold is stated; the best constant guess reaches {N}.*\.",
     lambda c, limit: shows(limit, c.goal["no_skill"]) and c.record["parameters"]["threshold"]["value"] == 0),
    (rf"The interval comes from resampling {N} (?:whole )?(.+)\.", Checker.resampled),
    (rf"Required is .+ of at (?:least|most) {N}\.",
     lambda c, limit: states(limit, c.goal["limit"]) and "no_threshold" not in c.goal["unstated"]),
    (r"Still open: (.+)\.", lambda c, parts: all(
        c.record["parameters"][name]["value"] in ("", 0) for name in re.findall(r"state `(\w+)`", parts)
    )),
    (r"No .+ is stated that would be enough, so no model can be accepted\.",
     lambda c: "no_threshold" in c.goal["unstated"] and c.record["verdict"] != "accepted"),
    (r"[Ss]tate (`.+`) in .+, then run again\.", Checker.unstated),
    (r"The threshold is what the decision needs, not what this run reached\.",
     lambda c: "no_threshold" in c.goal["unstated"]),
    (r"do not put this model into service\.", lambda c: c.record["verdict"] == "rejected"),
    (r"change the data, the columns or the candidates, then run again\.", lambda c: c.record["verdict"] == "rejected"),
    (r"A lower limit needs a reason of its own\.", lambda c: c.record["verdict"] == "rejected"),
    (r"do not decide on this run alone: not every rule could be decided\.",
     lambda c: "insufficient evidence" in _outcomes(c)),
    (r"do not decide on this run before the questions above are answered\.",
     lambda c: bool(waiting := [name for name in ("questions", "carrier_questions") if c.fact(name)])
     and _outcomes(c).count("insufficient evidence") == len(waiting)),
    (r"read what it may be used for, and its limits, in the model card\.", lambda c: c.record["verdict"] == "accepted"),
    (r"predict with `.+`\.", lambda c: c.record["verdict"] == "accepted"),
    (r"repeat it with `.+`\.", lambda c: c.record["fixed"]),
    (rf"(.+) is {N}[^(]*?(?: \({N} to {N}\))?, required (≥|≤|>) {N}.*\.", Checker.gate_sentence),
    (rf"(.+) is not measured, required (≥|≤|>) {N}\.",
     lambda c, name, _rule, _limit: any(g["name"] == name and g["value"] is None for g in c.gates)),
    (r"No sensitive group has enough rows\.",
     lambda c: not re.search(r",(recall|false positive rate|accuracy|mean error),", c.text("fairness.csv"))),
    (rf"If the value stays, about {N} more (.+) would decide it\.", Checker.would_decide),
    (rf"It is so near the limit that {N} times as many (.+) would not decide it\.", Checker.is_near),
    (rf"{N} (.+) are too few to decide; {N} are needed\.",
     lambda c, n, unit, needed: c.resampled(n, unit) and number(n) < number(needed)),
    ((rf".+ is {N} on the test set \(95 % interval {N} to {N}, from resampling {N} ([^)]+)\)"
      rf"; {N} (better than|behind) the baseline, (.+)\."),
     lambda c, *t: c.score(*t[:5]) and c.lead(*t[5:])),
    ((rf".+ is {N} on the test set \(95 % interval {N} to {N}, from resampling {N} ([^)]+)\)"
      r"; the baseline scores the same\."),
     lambda c, *t: c.score(*t) and c.metrics["gain_over_baseline"]["value"] == 0),
    (rf".+ is {N} on the test set \(95 % interval {N} to {N}, from resampling {N} ([^)]+)\)\.", Checker.score),
    (r"The model that goes forward predicts what the baseline predicts: no candidate was better on the folds\.",
     lambda c: c.metrics["gain_over_baseline"]["value"] == 0),
    (rf"Over the folds, yes from {N} on costs {N} a row, always .+ {N}: use the probabilities, .+\.",
     lambda _checker, _cut, own, constant: number(own) > number(constant)),
    (rf".+ is {N} on the test set\.",
     lambda c, value: shows(value, c.metrics["test_score"]["value"]) and c.metrics["test_score"]["low"] is None),
    (rf"{N} test rows, if independent(?: and with tails .+)?, give .+ within ±{N}; wanted is ±{N}, (.+)\.", _reach),
    (rf"{N} rows to learn from, {N} to test on, .+\.",
     lambda c, learn, test: (int(number(learn)), int(number(test))) == _parts(c)),
    (rf"{N} columns? can be learned from; left out: {N}\.",
     lambda c, n, _: int(number(n)) == len(c.artifact("schema")["columns"])),
    (rf"{N} of {N} test rows have a .+ that training rows have, too; on the {N} others .+\.",
     lambda c, seen, n, rest: int(number(n)) == _parts(c)[1] == int(number(seen)) + int(number(rest))),
    (rf"{NAMES}: a broken rule could not have been seen\.",
     lambda c, name: any(gate["name"] == name and gate["answer"] == "not testable" for gate in c.record["gates"])),
    (rf"{N} golden predictions came back bit for bit in a clean interpreter\.",
     lambda c, n: c.fact("parity")["identical"] and c.fact("parity")["rows"] == int(number(n))),
    (rf"One row takes {N} ms, the bundle has {N} MB\.",
     lambda c, ms, mb: shows(ms, c.fact("latency_1_median_ms")) and shows(mb, c.fact("size_mb"))),
    (rf"Given one row of each class, it ranks .+ higher {N} times in 100\.",
     lambda c, share: shows(share, 100 * c.metrics["accepted_score"]["value"])),
    (rf"(?:It names the right class|Averaged over the classes, it names the right one) {N} times in 100\.",
     lambda c, share: shows(share, 100 * c.metrics["accepted_score"]["value"])),
    (rf"It explains {N}\s% of the variance of the target\.",
     lambda c, share: shows(share, 100 * c.metrics["accepted_score"]["value"])),
    (rf"On average a prediction is off by {N}\.", lambda c, value: shows(value, c.metrics["accepted_score"]["value"])),
]  # fmt: skip


def _parts(checker: Checker) -> tuple[int, int]:
    rows = {Path(a["path"]).stem: a["rows"] for a in checker.record["artifacts"] if a["kind"] == "table"}
    return rows["train"], rows["test"]


def sentences_of(text: str) -> list[str]:
    """The sentences of a paragraph; a point inside a name or a number ends none."""
    return [part for part in re.split(r"(?<=[a-z)`\d]\.) (?=[A-Z\d])", " ".join(text.split())) if part]


def claims_of(folder: Path) -> list[Claim]:
    """Every sentence and table row about verdict, gates and steps on the six pages of a run, and its model card."""
    from bs4 import BeautifulSoup

    checker, claims = Checker(folder), list[Claim]()
    for page in ("index", *STAGES):
        checker.page = page
        soup = BeautifulSoup((folder / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
        panel = soup.find("section", class_="verdict")
        claims.append(Claim(page, text := panel.h2.get_text(" ", strip=True), _is_verdict(checker, text)))
        for block in [*panel.find_all("p"), *panel.find_all("li"), *soup.find_all("p", class_="aside")]:
            claims += _claims_in(checker, block)
        for row in soup.select("table.gates tbody tr"):
            claims.append(_gate_claim(checker, row))
    verdict = re.search(r"Verdict when packed\W+(.+)", (folder / "model" / "model_card.md").read_text())
    claims.append(Claim("model_card", verdict[1] if verdict else "", bool(verdict) and _is_packed(checker, verdict[1])))
    return claims


def number_claims_of(folder: Path) -> list[Claim]:
    """Every cell and paragraph with a number, on the pages, the documents and the model card: all are results."""
    results, estimates = results_of(folder), estimates_of(folder)
    documents = sorted((folder / "artifacts" / "documents").glob("*.html"))
    return [
        Claim(path.stem, block, not unfounded_in(block, results, estimates))
        for path in (*sorted(folder.glob("*.html")), *documents, folder / "model" / "model_card.html")
        for block in blocks_of(path.read_text(encoding="utf-8"))
    ]


def _is_verdict(checker: Checker, text: str) -> bool:
    if checker.page == "index":
        return text.lower() == checker.record["verdict"]
    stage = next(stage for stage in checker.record["stages"] if stage["name"] == checker.page)
    return text.lower() == stage["headline"]["verdict"].lower()


def _is_packed(checker: Checker, text: str) -> bool:
    before = [answer_of(gate) for gate in checker.gates if gate["stage"] in STAGES[:3]]
    codes = checker.goal["unstated"]
    if "no-go" in before:
        return text.startswith("rejected")
    is_open = bool(codes) or "insufficient evidence" in before
    return text.startswith("insufficient evidence" if is_open else "every gate up to here passed")


def _claims_in(checker: Checker, block: Any) -> list[Claim]:
    if "number" in (block.get("class") or []):
        return [Claim(checker.page, text := block.get_text(" ", strip=True), _is_number(checker, text))]
    for part in block.find_all(["strong", "a"]) if block.name == "li" or "aside" in (block.get("class") or []) else ():
        if part.name == "strong" or "term" not in (part.get("class") or []):
            part.decompose()  # who, and where to look
    for code in block.find_all("code"):
        code.replace_with(f"`{code.get_text()}`")
    text = " ".join(block.get_text().split())
    if re.fullmatch(rf".+, 95\s% interval {N} to {N}", text) or not re.search(r"[.]$", text):
        return []  # the label of the number, checked with it
    return [Claim(checker.page, one, checker.check(one)) for one in sentences_of(text)]


def _is_number(checker: Checker, text: str) -> bool:
    if found := re.fullmatch(r"(\d+) of (\d+)", text):
        return checker.counted(*found.groups())
    heads = [s["headline"] for s in checker.record["stages"] if s["headline"]]
    stage = [s["headline"] for s in checker.record["stages"] if s["name"] == checker.page]
    head = stage[0] if stage else [h for h in heads if h["metric"] in checker.metrics][-1]
    return shows(text.split()[0], checker.metrics[head["metric"]]["value"])


def _gate_claim(checker: Checker, row: Any) -> Claim:
    cells = [cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])]
    name, value, interval, limit, power, answer = row.th.get_text(), *cells[1:6]
    gates = [gate for gate in checker.gates_of_page() if gate["name"] == name]
    return Claim(
        checker.page, " | ".join(cells), any(_row_holds(gate, value, interval, limit, power, answer) for gate in gates)
    )


def _row_holds(gate: dict[str, Any], value: str, interval: str, limit: str, power: str, answer: str) -> bool:
    found = answer_of(gate)
    if not answer.startswith(found) or (found == "go" and "not have been seen" in power):
        return False
    numbers = [re.findall(N, text)[:2] for text in (value, interval, limit)]
    shown = gate["value"] is None or not numbers[0] or shows(numbers[0][0], gate["value"])
    bounds = not interval or all(shows(t, gate[k]) for t, k in zip(numbers[1], ("low", "high"), strict=True))
    way = "unless" in limit if gate.get("disproof") else "unless" not in limit
    return shown and bounds and way and (states(numbers[2][0], gate["limit"]) or abs(gate["limit"]) < 1e-300)
