"""Code blocks of a Markdown page, run in order in one namespace, with the outputs that the page shows.

`python tests/support/doc_examples.py docs/api.md` writes the outputs of today into the page.
"""

import ast
import contextlib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n?```text\n(?P<shown>.*?)```\n)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A block of code, the output below it (None where the page shows none) and the line it begins in."""

    code: str
    shown: str | None
    line: int


def examples_of(page: str) -> Iterator[Example]:
    """The blocks in their order."""
    for found in BLOCK.finditer(page):
        yield Example(found["code"], found["shown"], page.count("\n", 0, found.start()) + 2)


def run_example(example: Example, namespace: dict[str, object]) -> str:
    """The output of the block and the repr of its last expression, as a prompt would show them."""
    tree = ast.parse("\n" * (example.line - 1) + example.code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(tree, "page", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "page", "eval"), namespace)
            if value is not None:
                print(value if isinstance(value, str) else repr(value))
    return out.getvalue()


def with_outputs(page: str) -> str:
    """The page with today's outputs below the blocks that show one."""
    namespace: dict[str, object] = {}
    outputs = iter([run_example(example, namespace) for example in examples_of(page)])

    def renewed(found: re.Match[str]) -> str:
        output = next(outputs)
        block = f"```python\n{found['code']}```\n"
        return block if found["shown"] is None else f"{block}\n```text\n{output}```\n"

    return BLOCK.sub(renewed, page)


if __name__ == "__main__":
    path = Path(sys.argv[1]).resolve()
    path.write_text(with_outputs(path.read_text(encoding="utf-8")), encoding="utf-8")
