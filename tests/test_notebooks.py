"""Notebooks keep their form: exports are current, stage notebooks stay thin, no result is typed or committed."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
STAGES = sorted(ROOT.glob("notebooks/[0-9]_*.ipynb"))
MONITORING = ROOT / "notebooks" / "monitoring.ipynb"
LIBRARY = sorted(ROOT.glob("notebooks/lib/**/[0-9]*.ipynb"))

MAX_CELLS, MAX_LINES = 25, 12
EVERYWHERE = {"project", "run_dir"}  # the parameters that every stage notebook declares
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
PATH_NAMES = {"Path", "PurePath", "pathlib", "os", "shutil", "glob", "open", "joinpath"}

# The digits that prose may hold. Whatever else has a digit would be a number of one run, or a limit that
# the parameters hold already, and would be wrong after the next change.
ALLOWED_DIGITS = re.compile(
    r"""```[\s\S]*?``` | `[^`]*`                # names of files, columns, settings and commands
    | \]\([^)]*\) | https?://\S+                # where a link leads
    | ^\s*\d+\.\s | ^\#+\s*\d\b(?!\.\d)         # numbered lists, the stage's own number in a heading
    | \b[1-5]_[a-z_]+                           # a stage by its full name
    | \b(?:stage|notebook|step|cell)s?\s+\d(?:(?:,\s|\sto\s|\sand\s)\d)*\b
    | \b95\s?%\s(?:confidence\s)?interval       # the level of every interval in tdsp
    | \b\d\dth\spercentile                      # how a quantity is defined
    | \((?:[^()]*[^\w()])?(?:1[89]|20)\d\d\)    # the year of a source
    | \b[A-Za-z]+-?\d+\b                        # F1, R2, SHA-256
    | (?<![\d.,])\b[01]\b(?![.,]?\d|\s?%)       # the ends of a scale
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_parameters(cell: NotebookNode) -> bool:
    """Return whether papermill puts its values after this cell."""
    return "parameters" in cell.metadata.get("tags", [])


def tree_of(cell: NotebookNode) -> ast.Module:
    """Return the syntax tree of a cell; a cell with a magic or an error has an empty one (see `size_problems`)."""
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return ast.Module([], [])


def output_problems(notebook: NotebookNode) -> list[str]:
    """Return the cells that were saved with an output or a count."""
    return [f"cell {c.id} holds a result" for c in code_cells(notebook) if c.outputs or c.execution_count is not None]


def size_problems(notebook: NotebookNode) -> list[str]:
    """Return what is too long for a page that people read; the parameters cell is a list and may be longer."""
    cells = code_cells(notebook)
    problems = [f"{len(cells)} code cells, at most {MAX_CELLS}"] * (len(cells) > MAX_CELLS)
    for cell in cells:
        lines = len(cell.source.splitlines())
        if lines > MAX_LINES and not is_parameters(cell):
            problems.append(f"cell {cell.id} has {lines} lines, at most {MAX_LINES}")
        if cell.source.strip() and not tree_of(cell).body and not cell.source.lstrip().startswith("#"):
            problems.append(f"cell {cell.id} is not plain Python")
    return problems


def statement_problems(notebook: NotebookNode) -> list[str]:
    """Return the definitions and branches: they belong in notebooks/lib, where they are tested."""
    return [
        f"cell {cell.id} line {node.lineno}: {type(node).__name__}"
        for cell in code_cells(notebook)
        for node in ast.walk(tree_of(cell))
        if isinstance(node, DEFINITIONS + BRANCHES)
    ]


def builds_path(node: ast.AST) -> bool:
    """Return whether an expression puts a path together: by pathlib or os, by `/`, or in an f-string."""
    if isinstance(node, ast.BinOp):
        sides = (node.left, node.right)
        texts = [s.value for s in sides if isinstance(s, ast.Constant) and isinstance(s.value, str)]
        return bool(texts) and (isinstance(node.op, ast.Div) or any("/" in t for t in texts))
    if isinstance(node, ast.JoinedStr):
        return any("/" in str(part.value) for part in node.values if isinstance(part, ast.Constant))
    if isinstance(node, ast.Import | ast.ImportFrom):
        return bool({getattr(node, "module", None), *(alias.name for alias in node.names)} & PATH_NAMES)
    return getattr(node, "id", getattr(node, "attr", None)) in PATH_NAMES


def path_problems(notebook: NotebookNode) -> list[str]:
    """Return the places where a stage notebook builds a path: the run folder's layout is the library's business."""
    return [
        f"cell {cell.id} line {node.lineno} builds a path: {ast.unparse(node)}"
        for cell in code_cells(notebook)
        for node in ast.walk(tree_of(cell))
        if builds_path(node)
    ]


def opening_problems(notebook: NotebookNode) -> list[str]:
    """Return what differs from the common opening: imports, parameters, `run, p = open_run(STAGE, globals())`."""
    cells = code_cells(notebook)
    problems = [] if [is_parameters(c) for c in cells].count(True) == 1 else ["not exactly one cell tagged parameters"]
    if len(cells) < 3 or not is_parameters(cells[1]):
        return [*problems, "code cell 2 is not the parameters cell"]
    if not all(isinstance(node, ast.Import | ast.ImportFrom) for node in tree_of(cells[0]).body):
        problems.append("code cell 1 does more than import")
    if not re.match(r"run, p = open_run\(.+, globals\(\)\)", cells[2].source):
        problems.append("code cell 3 does not open the run")
    return problems + [
        f"parameter line {line!r} is not `name: type = literal  # meaning`" for line in odd_lines(cells[1])
    ]


def odd_lines(cell: NotebookNode) -> list[str]:
    """Return the lines of a parameters cell that papermill or the schema would misread."""
    literal = re.compile(r"(\w+): [\w\[\], ]+ = ([^#=]+?)  # [^#=]+")
    return [line for line in cell.source.splitlines() if line.strip() and not is_literal(literal.fullmatch(line))]


def is_literal(line: re.Match[str] | None) -> bool:
    """Return whether the value of a matched line is a literal."""
    try:
        return line is not None and (ast.literal_eval(line[2]) is not None)
    except (SyntaxError, ValueError):
        return False


def bound_names(cell: NotebookNode) -> set[str]:
    """Return the names that a cell binds at its top level, `_` excepted."""
    names = set()
    for node in ast.walk(tree_of(cell)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    inner = {n.id for c in comprehensions(cell) for n in ast.walk(c.target) if isinstance(n, ast.Name)}
    return names - inner - {"_"}


def comprehensions(cell: NotebookNode) -> list[ast.comprehension]:
    """Return the loops inside expressions; their names end with them."""
    return [node for node in ast.walk(tree_of(cell)) if isinstance(node, ast.comprehension)]


def name_problems(notebook: NotebookNode) -> list[str]:
    """Return the names that two cells bind: which one holds would depend on the order of running them."""
    times = Counter(name for cell in code_cells(notebook) for name in bound_names(cell))
    return [f"{name} is bound in {n} cells" for name, n in times.items() if n > 1]


def texts_of(notebook: NotebookNode) -> list[str]:
    """Return the text a reader sees: markdown, and the sentences that code hands to the page."""
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell in code_cells(notebook):
        if not is_parameters(cell):
            texts = (n.value for n in ast.walk(tree_of(cell)) if isinstance(n, ast.Constant))
            prose += [text for text in texts if isinstance(text, str) and " " in text]
    return prose


def prose_problems(notebook: NotebookNode) -> list[str]:
    """Return the numbers typed in prose: results are computed, limits stand in the parameters."""
    numbers = (re.findall(r"\S*\d\S*", ALLOWED_DIGITS.sub(" ", text)) for text in texts_of(notebook))
    return [f"the number {number!r} in prose" for found in numbers for number in found]


def parameter_problems(notebooks: dict[str, NotebookNode]) -> list[str]:
    """Return the parameters declared twice, used before the stage that declares them, or declared nowhere."""
    problems, declared = [], dict.fromkeys(EVERYWHERE, "every notebook")
    for name, notebook in sorted(notebooks.items()):
        own = {n for cell in code_cells(notebook) if is_parameters(cell) for n in bound_names(cell)}
        problems += [f"{name} does not declare {p}" for p in sorted(EVERYWHERE - own)]
        problems += [
            f"{name} declares {p} again, after {declared[p]}" for p in sorted(own - EVERYWHERE) if p in declared
        ]
        declared = dict.fromkeys(own, name) | declared
        problems += [
            f"{name} uses p.{p}, which no notebook up to it declares" for p in sorted(used(notebook) - {*declared})
        ]
    return problems


def used(notebook: NotebookNode) -> set[str]:
    """Return the parameters that a notebook reads as `p.name`; a call such as `p.as_dict()` reads them all."""
    nodes = [node for cell in code_cells(notebook) for node in ast.walk(tree_of(cell))]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "p" and id(node) not in called
    }


CHECKS = [size_problems, statement_problems, path_problems, opening_problems, name_problems, prose_problems]


def read(path: Path) -> NotebookNode:
    """Return a notebook."""
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_stage_notebooks_stay_thin(path: Path, check):
    """A stage notebook is short, calls the library, opens like the others and types no number."""
    assert check(read(path)) == []


@pytest.mark.parametrize("check", [size_problems, statement_problems, path_problems, prose_problems])
def test_the_notebook_of_monitoring_is_as_thin(check):
    """It belongs to no run, so that it opens otherwise; all else is as in a stage."""
    assert check(read(MONITORING)) == []


def test_each_parameter_has_one_home_and_is_used_from_there_on():
    """A parameter is declared in the stage that first uses it, once."""
    assert parameter_problems({path.stem: read(path) for path in STAGES}) == []


def committed() -> dict[str, NotebookNode]:
    """Return the notebooks as git has them; outputs of a session in JupyterLab do not count."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    if not (ROOT / ".git").exists():  # a downloaded archive
        return {str(path): read(path) for path in [*STAGES, MONITORING, *LIBRARY]}
    return {name: nbformat.reads(git("show", f":{name}"), 4) for name in git("ls-files", "*.ipynb").splitlines()}


def test_no_notebook_in_git_holds_a_result():
    """Notebooks are committed without outputs and counts: results belong to runs."""
    assert {name: found for name, notebook in committed().items() if (found := output_problems(notebook))} == {}


def tool(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment."""
    command = [str(Path(sys.executable).parent / name), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def exported_from(path: Path) -> list[str]:
    """Return the modules that a notebook says it exports."""
    return [m for cell in code_cells(read(path)) for m in re.findall(r"(?m)^#\| *default_exp +(\S+)", cell.source)]


def test_exported_modules_equal_their_notebooks(tmp_path: Path):
    """An export by nbdev gives what is in tdsp/, byte for byte, and nothing there lost its notebook."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "notebooks/lib", tmp_path / "notebooks/lib")
    done = tool("nbdev-export", "--path", "notebooks/lib", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    new, old = (exports_below(folder / "tdsp") for folder in (tmp_path, ROOT))
    assert new.keys() == old.keys()
    assert [name for name in new if new[name] != old[name]] == []


def exports_below(package: Path) -> dict[str, str]:
    """Return the text of each exported module by its path below the package."""
    texts = {str(path.relative_to(package)): path.read_text() for path in sorted(package.rglob("*.py"))}
    return {name: text for name, text in texts.items() if "AUTOGENERATED! DO NOT EDIT!" in text[:1000]}


def module_of(notebook: Path) -> str:
    """Return `data.splits` for notebooks/lib/data/09_splits.ipynb."""
    *rooms, name = notebook.relative_to(ROOT / "notebooks/lib").with_suffix("").parts
    return ".".join((*rooms, name.split("_", 1)[1]))


def test_every_exported_module_names_its_notebook_and_every_notebook_its_module():
    """ROOM/NN_name.ipynb exports tdsp/ROOM/name.py, whose first lines name the notebook."""
    sources = {}
    for name, text in exports_below(ROOT / "tdsp").items():
        head = "\n".join(text.splitlines()[:5])
        source = re.search(r"AUTOGENERATED!.*File to edit: (\S+\.ipynb)", head)
        sources[name.removesuffix(".py").replace("/", ".")] = (
            (ROOT / "tdsp" / name).parent.joinpath(source[1]).resolve()
        )
    assert sources == {module_of(path): path for path in LIBRARY}
    assert {path: exported_from(path) for path in LIBRARY} == {path: [name] for name, path in sources.items()}


@pytest.mark.parametrize("path", LIBRARY, ids=module_of)
def test_library_notebooks_open_with_name_and_purpose(path: Path):
    """The first cell is a page's head: `# name`, a `>` line, and prose that says why the module exists."""
    assert re.match(r"# .+\n\n?> .+\n\n?\S", read(path).cells[0].source)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nbdev_prepare_runs_every_example_and_leaves_the_tree_clean(tmp_path: Path):
    """`nbdev-prepare` as nbdev documents it: exports, runs each cell of notebooks/lib, cleans, and changes no file."""
    clone = tmp_path / "clone"
    shutil.copytree(
        ROOT, clone, ignore=shutil.ignore_patterns(".git", ".venv", "outputs", "tests", ".*_cache", "_modidx.py")
    )
    shutil.copy(ROOT / ".gitignore", clone)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "before"]):
        subprocess.run([*git, *command], cwd=clone, check=True, capture_output=True)
    env = os.environ | {"PYTHONPATH": str(clone)}
    command = [str(Path(sys.executable).parent / "nbdev-prepare")]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    status = subprocess.run([*git, "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == ""


OPENING = [
    "from tdsp import open_run, show",
    'project: str = ""  # parameter file\nrun_dir: str = ""  # run folder\nfolds: int = 5  # parts of the data',
    "run, p = open_run('1_business_understanding', globals())",
]


def notebook(*cells: str, prose: str = "# 1 Business understanding", opening: list[str] = OPENING) -> NotebookNode:
    """Return a stage notebook with the common opening and more cells."""
    made = [nbformat.v4.new_code_cell(source) for source in [*opening, *cells]]
    for cell in made[1:2]:
        cell.metadata["tags"] = ["parameters"]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(prose), *made])


def with_output() -> NotebookNode:
    """Return a notebook that was saved after a run."""
    made = notebook("1 + 1")
    made.cells[-1].execution_count = 7
    return made


def two_parameter_cells() -> NotebookNode:
    """Return a notebook in which papermill would take the first of two tagged cells."""
    made = notebook("limit: float = 0.6  # least score")
    made.cells[-1].metadata["tags"] = ["parameters"]
    return made


def test_a_good_notebook_passes_every_check():
    """The checks have no finding where there is none."""
    good = notebook("table = run.read_table('train')\nshow(run, table.describe(), 'columns', caption='All of them')")
    assert [problem for check in [*CHECKS, output_problems] for problem in check(good)] == []
    assert parameter_problems({"1_a": good}) == []


BAD = {
    "a count": (output_problems, with_output(), "holds a result"),
    "26 cells": (size_problems, notebook(*["p"] * 23), "26 code cells"),
    "13 lines": (size_problems, notebook("p\n" * 13), "13 lines"),
    "a magic": (size_problems, notebook("%matplotlib inline"), "not plain Python"),
    "def": (statement_problems, notebook("def f(): pass"), "FunctionDef"),
    "class": (statement_problems, notebook("class A: pass"), "ClassDef"),
    "if": (statement_problems, notebook("if p: pass"), "If"),
    "a conditional": (statement_problems, notebook("1 if p else 2"), "IfExp"),
    "for": (statement_problems, notebook("for i in p: pass"), "For"),
    "while": (statement_problems, notebook("while p: pass"), "While"),
    "try": (statement_problems, notebook("try: p\nfinally: p"), "Try"),
    "a slash": (path_problems, notebook("run.folder / 'data'"), "builds a path"),
    "an f-string": (path_problems, notebook("f'{run}/data'"), "builds a path"),
    "joined texts": (path_problems, notebook("run + '/data'"), "builds a path"),
    "pathlib": (path_problems, notebook("import pathlib"), "builds a path"),
    "os.path": (path_problems, notebook("os.path.join(run, p)"), "builds a path"),
    "open": (path_problems, notebook("open('a')"), "builds a path"),
    "no parameters": (opening_problems, notebook(opening=["import tdsp", "", "run"]), "cell 3 does not open"),
    "two tags": (opening_problems, two_parameter_cells(), "not exactly one"),
    "late tag": (opening_problems, notebook(opening=OPENING[:1]), "cell 2 is not"),
    "early work": (opening_problems, notebook(opening=["import a\na.b()", *OPENING[1:]]), "does more than import"),
    "a call": (
        opening_problems,
        notebook(opening=["import a", "n: int = len('a')  # n", OPENING[2]]),
        "parameter line",
    ),
    "no comment": (opening_problems, notebook(opening=["import a", "n: int = 1", OPENING[2]]), "parameter line"),
    "no type": (opening_problems, notebook(opening=["import a", "n = 1  # n", OPENING[2]]), "parameter line"),
    "= in comment": (
        opening_problems,
        notebook(opening=["import a", "n: int = 1  # n=1", OPENING[2]]),
        "parameter line",
    ),
    "a name twice": (name_problems, notebook("x = 1", "x, y = 1, 2"), "x is bound in 2"),
    "p again": (name_problems, notebook("p = 1"), "p is bound in 2"),
    "a decimal": (prose_problems, notebook(prose="The score is 0.68."), "'0.68.'"),
    "a percentage": (prose_problems, notebook(prose="In 12 % of the rows"), "'12'"),
    "a count of rows": (prose_problems, notebook(prose="All 336,776 flights"), "'336,776'"),
    "a bare number": (prose_problems, notebook(prose="3 of the candidates"), "'3'"),
    "a date": (prose_problems, notebook(prose="From 19 October 2013"), "'2013'"),
    "a caption": (prose_problems, notebook("show(run, p, 'x', caption='It reaches 0.7 now')"), "'0.7'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_notebook_is_noticed(case: str):
    """Each check finds the fault that it is for."""
    check, bad, finding = BAD[case]
    assert any(finding in problem for problem in check(bad))


@pytest.mark.parametrize(
    "prose",
    [
        "## 3 Modelling",
        "1. first\n2. second",
        "see stage 2, stages 3 to 5, notebooks 1 and 2",
        "as `0.8` in `2_data.ipynb`, [here](a/1.html) or in 4_deployment",
        "The bar is the 95 % interval (Efron, 1979), the time the 99th percentile.",
        "F1 and SHA-256; from 0 to 1. A value of 1, not 0, is best.",
    ],
)
def test_prose_may_name_stages_sources_and_scales(prose: str):
    """Digits that no run can change are no finding."""
    assert prose_problems(notebook(prose=prose)) == []


def test_a_parameter_declared_twice_or_used_too_early_is_noticed():
    """`p.name` works from the declaring stage on, and there is one declaration."""
    opening = [OPENING[0], OPENING[1].replace("folds", "limit"), OPENING[2]]
    first, second = notebook("p.folds, p.limit, p.as_dict()"), notebook("p.folds, p.typo", opening=opening)
    assert parameter_problems({"1_a": first, "2_b": second, "3_c": notebook()}) == [
        "1_a uses p.limit, which no notebook up to it declares",
        "2_b uses p.typo, which no notebook up to it declares",
        "3_c declares folds again, after 1_a",
    ]


def test_a_notebook_without_project_and_run_dir_is_noticed():
    """Every stage takes its project and its run folder as parameters."""
    bare = notebook(opening=[OPENING[0], "n: int = 1  # n", OPENING[2]])
    assert parameter_problems({"1_a": bare}) == ["1_a does not declare project", "1_a does not declare run_dir"]
