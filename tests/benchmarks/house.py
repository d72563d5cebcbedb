"""Count the code: lines by room, sizes of modules and functions, loose types, one-caller helpers.

    python -m tests.benchmarks.house [FOLDER …]     a checkout, also one of before the rooms; this one by default

A code line is not blank, no comment and no docstring.
"""

import ast
import re
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
AIMS = {
    "core": 680, "stats": 480, "config": 700, "data": 2250, "packaging": 1330, "exploration": 1000, "modeling": 1380,
    "evaluation": 1080, "registry": 430, "serving": 1080, "reporting": 2150, "stages": 1150, "runner": 780, "cli": 520,
}  # fmt: skip
LOOSE = {
    "dict[str, Any]": r"dict\[str, Any\]",
    ": Any": r"(: |-> )Any\b",
    "bare dict": r"(: |-> )dict\b(?!\[)",
    "Mapping[str, object/Any]": r"Mapping\[str, (object|Any)\]",
    "object": r"(?<!dtype=)(?<!astype\()(?<![\"'])\bobject\b(?![\"'\]])",  # NumPy's dtype is no annotation
    "cast": r"(?<![.\w])cast\(",  # Arrow's method is none either
}


@dataclass
class Counts:
    """The counts of one checkout."""

    lines: Counter[str] = field(default_factory=Counter)  # code lines by room
    modules: dict[str, int] = field(default_factory=dict)  # code lines by module
    functions: list[int] = field(default_factory=list)  # code lines of each function
    loose: Counter[str] = field(default_factory=Counter)
    short_helpers: list[str] = field(default_factory=list)  # private, called once, at most 3 lines


def docstring_lines(tree: ast.AST) -> set[int]:
    """Return the numbers of the lines that docstrings take."""
    found: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found |= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return found


def code_lines(source: str, tree: ast.AST) -> set[int]:
    """Return the numbers of the code lines of a module."""
    text = enumerate(source.splitlines(), 1)
    written = {number for number, line in text if line.strip() and not line.lstrip().startswith("#")}
    return written - docstring_lines(tree)


def _name(node: ast.Name | ast.Attribute) -> str:
    """Return the last part of a dotted name."""
    return node.id if isinstance(node, ast.Name) else node.attr


def count(folder: Path) -> Counts:
    """Return the counts of the package in a checkout."""
    counts, used, called, private = Counts(), Counter[str](), Counter[str](), dict[str, str]()
    for path in sorted((folder / "tdsp").rglob("*.py")):
        if path.name == "_modidx.py":
            continue
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        lines, parts = code_lines(source, tree), path.relative_to(folder / "tdsp").parts
        counts.lines[parts[0] if len(parts) > 1 else "(flat)"] += len(lines)
        counts.modules["/".join(parts)] = len(lines)
        for name, pattern in LOOSE.items():
            counts.loose[name] += sum(len(re.findall(pattern, source.splitlines()[n - 1])) for n in lines)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = len(lines & set(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)))
                counts.functions.append(size)
                if node in tree.body and node.name.startswith("_") and not node.name.startswith("__") and size <= 3:
                    private[node.name] = f"{'/'.join(parts)}:{node.name}"
            elif isinstance(node, ast.Name | ast.Attribute):
                used[_name(node)] += 1
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                called[_name(node.func)] += 1
    # One that is passed as a value has to be a function.
    counts.short_helpers = sorted(where for name, where in private.items() if used[name] == called[name] == 1)
    return counts


def show(folder: Path, counts: Counts) -> None:
    """Print the counts of one checkout."""
    print(f"\n{folder}\n{'room':14}{'lines':>7}{'aim':>7}")
    for room, lines in sorted(
        counts.lines.items(), key=lambda item: list(AIMS).index(item[0]) if item[0] in AIMS else 99
    ):
        print(f"{room:14}{lines:7}{AIMS.get(room, ''):>7}")
    print(f"{'all':14}{sum(counts.lines.values()):7}{sum(AIMS.values()):7}")
    largest = sorted(counts.modules.items(), key=lambda item: -item[1])[:8]
    print("modules:", len(counts.modules), "largest:", ", ".join(f"{name} {lines}" for name, lines in largest))
    deciles = statistics.quantiles(counts.functions, n=10)
    sizes = f"median {statistics.median(counts.functions):.0f}, p90 {deciles[-1]:.0f}, max {max(counts.functions)}"
    print(f"functions: {len(counts.functions)}, lines {sizes}")
    print("loose types:", sum(counts.loose.values()), dict(counts.loose))
    print("private functions of at most 3 lines with one caller:", len(counts.short_helpers))


if __name__ == "__main__":
    for name in sys.argv[1:] or [ROOT]:
        show(Path(name), count(Path(name)))
