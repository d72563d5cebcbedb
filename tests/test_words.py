"""Names, docstrings, headings and templates use the field's words in American spelling."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTED = [
    line.split(" ", 1)
    for line in (ROOT / "tests/support/words.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
SHORT_NAMES = {
    *"XyinkTpxab",
    "_",
}  # T: a type variable; p: the parameters of a stage; x, y: a place in a figure; a, b: two models
QUOTED = {"labelled_test", "labelled", "licence", "told"}  # parameters and fields of charters that users' files hold


def words_out_of(place: str) -> set[str]:
    """Return the words that are out of one place; case matters for constants only."""
    return {word for where, word in LISTED if where in (place, "british")}


def pieces_of(name: str) -> set[str]:
    """Return the words of an identifier: between underscores and at capitals, constants as they are written."""
    if name.isupper():
        return set(name.split("_"))
    return {piece.lower() for piece in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def names_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each name that a module defines or binds, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def arguments_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the arguments of each function with a name, with their line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (
                (argument.arg, argument.lineno) for argument in ast.walk(node.args) if isinstance(argument, ast.arg)
            )


def openings_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the first line of each docstring, with the line of what it describes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            text = ast.get_docstring(node)
            if text:
                yield text.splitlines()[0], getattr(node, "lineno", 1)


def found_in(text: str, words: set[str]) -> list[str]:
    """Return the listed words that a text uses as whole words."""
    return sorted(word for word in words if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE))


def module_problems(source: str, where: str, *, package: bool) -> list[str]:
    """Return each word that is out in the names and docstrings of one module."""
    tree, problems = ast.parse(source), []
    banned = words_out_of("name")
    for name, line in names_in(tree):
        problems += [
            f"{where}:{line}: name {name} ({word})" for word in sorted(pieces_of(name) & banned) if name not in QUOTED
        ]
    if package:
        single = sorted({(n, line) for n, line in arguments_in(tree) if len(n) == 1 and n not in SHORT_NAMES})
        problems += [f"{where}:{line}: one-letter argument {name}" for name, line in single]
    for text, line in openings_in(tree):
        problems += [
            f"{where}:{line}: docstring opens with {word!r}: {text}" for word in found_in(text, words_out_of("opening"))
        ]
        if re.match(r"(What|How)\b", text):
            problems.append(f"{where}:{line}: docstring opens as a question: {text}")
    return problems


def heading_problems(text: str, where: str) -> list[str]:
    """Return each heading and purpose line of a Markdown text that uses a word that is out."""
    lines = [line for line in text.splitlines() if re.match(r"#+ |> ", line)]
    return [f"{where}: {line} ({word})" for line in lines for word in found_in(line, words_out_of("heading"))]


def template_problems(text: str, where: str) -> list[str]:
    """Return each word that is out in the visible text of a template; its expressions are code."""
    visible = re.sub(r"\{[{%#].*?[}%#]\}|<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    return [f"{where}: {word}" for word in found_in(visible, words_out_of("heading"))]


def sources() -> dict[str, str]:
    """Return every module of the package and of the tests by its path."""
    paths = [*(ROOT / "tdsp").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    return {str(p.relative_to(ROOT)): p.read_text() for p in sorted(paths) if p.name != "_modidx.py"}


def test_names_and_docstrings_use_the_words_of_the_field():
    """No identifier and no first line of a docstring holds a word that is out."""
    problems = [
        problem
        for where, source in sources().items()
        for problem in module_problems(source, where, package=where.startswith("tdsp/"))
    ]
    assert problems == []


def test_headings_use_the_words_of_the_field():
    """Headings and purpose lines of notebooks, README and docs hold no word that is out."""
    problems = []
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            for cell in json.loads(path.read_text())["cells"]:
                if cell["cell_type"] == "markdown":
                    problems += heading_problems("".join(cell["source"]), str(path.relative_to(ROOT)))
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        problems += heading_problems(path.read_text(), path.name)
    assert problems == []


def test_templates_use_the_words_of_the_field():
    """The visible text of the pages' templates holds no word that is out."""
    templates = sorted((ROOT / "tdsp").rglob("*.j2"))
    assert [p for path in templates for p in template_problems(path.read_text(), path.name)] == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("MOST_ROWS = 1", "m:1: name MOST_ROWS (MOST)"),
        ("most_rows = 1", None),
        ("def ask_told(x1): ...", "m:1: name ask_told (told)"),
        ("class TellDoor: ...", "m:1: name TellDoor (door)"),
        ("def f(e): ...", "m:1: one-letter argument e"),
        ("def f(X, y): ...", None),
        ('def f():\n    "What a cell shows."', "m:1: docstring opens as a question: What a cell shows."),
        ('def f():\n    "Rows of the test part."', "m:1: docstring opens with 'test part': Rows of the test part."),
        ("colour = 1", "m:1: name colour (colour)"),
    ],
)
def test_a_word_that_is_out_is_noticed(source: str, problem: str | None):
    """Each kind of place is looked at, and an ordinary word is no finding."""
    assert module_problems(source, "m", package=True) == ([problem] if problem else [])
