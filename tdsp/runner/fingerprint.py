"""The fingerprint of each stage: all that its result depends on, known before anything is executed."""

# A stage depends on its own and earlier parameters, the code of its notebook and of every module that this imports,
# the files beside the parameters, the bytes of the sources, the environment, and the stage before it. Code is compared
# as syntax without comments and docstrings. What a file held is remembered by inode, size and both its times.

import ast
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tdsp.config.parameters import EVERYWHERE
from tdsp.core.environment import describe_environment
from tdsp.core.errors import DataError
from tdsp.core.files import canonical_json, sha256_bytes, sha256_file, write_atomic
from tdsp.core.project import PACKAGE, STAGES, find_notebooks
from tdsp.data.local_files import local_files
from tdsp.runner.preflight import Plan

Parts = dict[str, str]  # what a stage depends on -> its hash; "search.py" or "parameter threshold"
SIGNING_KEY = "TDSP_SIGNING_KEY"
JUST_NOW = 2.0  # seconds: a file this young may change again within the same tick of its clock
TEXTS = (".yaml", ".j2", ".css", ".svg", ".md", ".json")  # that modules read beside them
MAX_NAMED_CHANGES = 5  # changes that a sentence names


@dataclass
class FileMemory:
    """The hashes of files as last read, kept in a file; `trusting` takes the times of a file for its bytes."""

    path: Path
    trusting: bool = True
    _known: dict[str, tuple[list[int], list[str]]] = field(default_factory=dict)  # file -> its marks, what was found
    _changed: bool = False

    def __post_init__(self) -> None:
        """Read what is known; a damaged memory is an empty one."""
        try:
            self._known = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            self._known = {}

    def bytes_of(self, path: Path) -> str:
        """Return the SHA-256 of a file."""
        return self._remembered(path, "bytes", lambda: [sha256_file(path)])[0]

    def code_of(self, path: Path) -> tuple[str, list[str]]:
        """Return the hash of a module's syntax, and the names that it imports."""
        digest, *names = self._remembered(path, "code", lambda: read_code(path.read_text(encoding="utf-8")))
        return digest, names

    def _remembered(self, path: Path, what: str, read: Callable[[], list[str]]) -> list[str]:
        status = path.stat()
        mark = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        key = f"{what} {path}"
        known = self._known.get(key)
        if known and known[0] == mark and (self.trusting or what == "code"):
            return known[1]
        found = read()
        if time.time() - max(status.st_mtime, status.st_ctime) > JUST_NOW:
            self._known[key], self._changed = (mark, found), True
        return found

    def save(self) -> None:
        """Keep what was learned, where the folder can be written: it saves time and nothing else."""
        if self._changed:
            with suppress(OSError):
                write_atomic(self.path, canonical_json(self._known))


# code ---------------------------------------------------------------------------------------------------------------
def read_code(source: str) -> list[str]:
    """Return the hash of the syntax without docstrings, then the modules that are imported anywhere in it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []  # for a type checker alone
    return [sha256_bytes(ast.dump(tree).encode()), *sorted(set(_imports(tree)))]


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield imported names with dots; those of a relative import begin with one; a command is `-m tdsp VERB`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}{'.' if node.module else ''}{alias.name}" for alias in node.names)
        elif isinstance(node, ast.List):
            texts = [part.value if isinstance(part, ast.Constant) else None for part in node.elts]
            started = zip(texts, texts[1:], texts[2:], strict=False)
            yield from (f"-m tdsp {verb!s}" for option, package, verb in started if (option, package) == ("-m", "tdsp"))


class Code:
    """The modules of the package and of a project, by what imports them."""

    def __init__(self, folders: Iterable[Path], memory: FileMemory):
        self.memory = memory
        own = [path for folder in folders for path in sorted(folder.glob("*.py"))]
        self.files = {_dotted(path, path.parent): path for path in own}
        self.files |= {_dotted(path, PACKAGE.parent): path for path in sorted(PACKAGE.rglob("*.py"))}
        self._imported: dict[Path, tuple[str, list[Path]]] = {}

    def closure(self, names: Iterable[str]) -> dict[Path, str]:
        """Return the file of every module that these names lead to, with its hash."""
        found: dict[Path, str] = {}
        waiting = [path for name in names for path in self.files_of(name)]
        while waiting:
            path = waiting.pop()
            if path not in found:
                found[path], imported = self.imports_of(path)
                waiting += imported
        return found

    def imports_of(self, path: Path) -> tuple[str, list[Path]]:
        """Return the hash of a module and the files that it imports; looked up once."""
        if path not in self._imported:
            digest, names = self.memory.code_of(path)
            here = path.relative_to(PACKAGE).parts[:-1] if path.is_relative_to(PACKAGE) else ()
            files = {file for name in names for file in self.files_of(_absolute(name, here))}
            self._imported[path] = digest, sorted(files)
        return self._imported[path]

    def files_of(self, name: str) -> list[Path]:
        """Return the files that importing `a.b.c` executes, where c may be a name inside of a.b; none of a library."""
        if name.startswith("-m tdsp "):  # a command that a module starts
            verb = f"\ndef {name.rpartition(' ')[2]}("
            return [path for path in (PACKAGE / "cli").glob("*.py") if verb in path.read_text(encoding="utf-8")]
        parts = name.split(".")
        homes: dict[str, str] = vars(sys.modules["tdsp"])["_HOME"]  # names that the package loads on first use
        if parts[0] == "tdsp" and len(parts) == 2 and parts[1] in homes:
            parts = ["tdsp", *homes[parts[1]].split(".")]
        names = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
        return [self.files[one] for one in names if one in self.files]


def _dotted(path: Path, root: Path) -> str:
    """Return the name by which a module is imported."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _absolute(name: str, here: tuple[str, ...]) -> str:
    """Return an imported name without the dots of a relative import."""
    level = len(name) - len(name.lstrip("."))
    return ".".join([*["tdsp", *here][: len(here) + 2 - level], name.lstrip(".")]) if level else name


# stages -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Fingerprints:
    """The parts of each stage of a run: all that its result depends on."""

    plan: Plan
    memory: FileMemory
    inputs: Mapping[str, str]  # source -> hash of its content

    @cached_property
    def _modules(self) -> Code:
        return Code((find_notebooks(self.plan.root), self.plan.root), self.memory)

    def all_stages(self) -> dict[str, Parts]:
        """Return the parts of the five stages, each with the fingerprint of the one before."""
        found: dict[str, Parts] = {}
        before = ""
        for stage in STAGES:
            found[stage] = self.of(stage, before)
            before = total(found[stage])
        return found

    def of(self, stage: str, before: str) -> Parts:
        """Return the parts of a stage; `before` is the hash of the stage before it, empty for the first."""
        number = STAGES.index(stage)
        resolved = self.plan.resolved
        known = {name for name, one in resolved.schema.items() if STAGES.index(one.stage) <= number}
        values = {name: value for name, value in resolved.values.items() if name in known and name not in EVERYWHERE}
        parts = {f"parameter {name}": sha256_bytes(canonical_json(value)) for name, value in values.items()}
        notebook = find_notebooks(self.plan.root) / f"{stage}.ipynb"
        text, names = notebook_code(notebook)
        parts |= {notebook.name: text, **self._code(names), **self._files(), "the environment": self._environment}
        if number < 2:
            parts |= {f"source {name}": digest for name, digest in self.inputs.items()}
        if stage == STAGES[2] and (labeled := values.get("labelled_test")):
            content = content_of(str(labeled), self.plan.root, self.memory)
            parts["labelled_test"] = "|".join(content or [str(time.time_ns())])
        if stage == STAGES[2] and values.get("warm_start"):
            parts["earlier runs, by warm_start"] = str(time.time_ns())  # never twice the same
        if stage == STAGES[3] and os.environ.get(SIGNING_KEY):
            from tdsp.packaging.signing import signing_fingerprint

            parts["the signing key"] = signing_fingerprint()
        return parts | {"the stage before": before}

    def _code(self, names: Iterable[str]) -> Parts:
        """Return the hashes of all modules behind a notebook, and of the templates and texts beside them."""
        found = self._modules.closure(names)
        rooms = {path.parent for path in found if path.is_relative_to(PACKAGE) and path.parent != PACKAGE}
        texts = [file for room in rooms for file in room.rglob("*") if file.suffix in TEXTS]
        parts = {_shown(path): digest for path, digest in found.items()}
        return parts | {_shown(path): self.memory.bytes_of(path) for path in texts}

    def _files(self) -> Parts:
        """Return the hashes of the files beside the parameters: charter, contract, SQL."""
        folder, stem = self.plan.file.parent, self.plan.file.stem
        sql = str(self.plan.resolved.values.get("sql") or "")
        names = {path.name for path in folder.glob(f"{stem}.*")} | {sql}
        names -= {"", self.plan.file.name, f"{stem}.cycle.yaml"}  # the loop changes nothing that a run computes
        return {name: self.memory.bytes_of(folder / name) for name in sorted(names) if (folder / name).is_file()}

    @cached_property
    def _environment(self) -> str:
        found = describe_environment(self.plan.root)
        return sha256_bytes(canonical_json([found.python, found.lock_sha256, found.packages]))


def _shown(path: Path) -> str:
    """Return how a file of code is called in a sentence."""
    return path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE.parent) else path.name


def notebook_code(path: Path) -> tuple[str, list[str]]:
    """Return the hash of a notebook, its text and the syntax of its code, and the modules that it imports."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    kept, names = list[str](), list[str]()
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "parameters" not in cell.get("metadata", {}).get("tags", []):
            try:
                digest, *found = read_code(source)
            except SyntaxError:  # a magic; the text as it is
                digest, found = source, []
            kept.append(digest)
            names += found
        elif cell["cell_type"] == "markdown":
            kept.append(source)
    return sha256_bytes(canonical_json(kept)), names


def content_of(uri: str, root: Path, memory: FileMemory) -> list[str] | None:
    """Return the hashes of a local source's files with their names; None for one that has to be fetched."""
    if "://" in uri and not uri.startswith("file://"):
        return None
    try:
        found = local_files(uri, root)
    except (DataError, OSError):
        return None  # the check of the data says why
    return [f"{path.name} {keys} {memory.bytes_of(path)}" for path, keys in found]


def local_inputs(plan: Plan, memory: FileMemory) -> dict[str, str] | None:
    """Return the content of each source without fetching any; None where one is remote, or grows by a watermark."""
    values = plan.resolved.values
    if values.get("watermark") or values.get("lake"):
        return None
    found = {name: content_of(str(uri), plan.root, memory) for name, uri in values.get("sources", {}).items()}
    if not found or any(content is None for content in found.values()):
        return None
    return {name: sha256_bytes(canonical_json(content)) for name, content in found.items()}


def total(parts: Parts) -> str:
    """Return the fingerprint of a stage."""
    return sha256_bytes(canonical_json(parts))


# beside an earlier run ----------------------------------------------------------------------------------------------
def changes(now: Parts, earlier: Parts) -> str:
    """Return what differs between two fingerprints of a stage, in words; empty when nothing does."""
    names = [name for name in sorted(now.keys() | earlier.keys()) if now.get(name) != earlier.get(name)]
    own = [name for name in names if name != "the stage before"]
    if not own:
        return "the stage before it runs" if names else ""
    more = f" and {len(own) - MAX_NAMED_CHANGES} more" if len(own) > MAX_NAMED_CHANGES else ""
    return f"changed: {', '.join(own[:MAX_NAMED_CHANGES])}{more}"
