"""A project whose five notebooks take a second each and do what a test tells them to."""

from pathlib import Path

import nbformat

from tdsp.core.project import STAGES

OWN = ["title: str = ''  # in words", "", "cv_folds: int = 5  # parts", "", ""]  # each stage's own parameter
FINISH = "from tdsp.core.results import Headline\nrun.finish(Headline('Done', 'ok', 'It is done.'), {})"


def write_project(root: Path, cells: dict[str, list[str]] | None = None, *, yaml: str = "title: Tiny\n") -> Path:
    """Write notebooks and parameters/tiny.yaml; `cells` replaces the work of a stage. Return the parameter file."""
    (root / "notebooks").mkdir(parents=True, exist_ok=True)
    (root / "parameters").mkdir(exist_ok=True)
    for stage, own in zip(STAGES, OWN):
        last = FINISH.format("verdict='accepted'" if stage == STAGES[-1] else "")
        work = (cells or {}).get(stage, [f"run.note(done_{stage[0]}=True)", last])
        write_stage(root / "notebooks" / f"{stage}.ipynb", stage, own, work)
    file = root / "parameters" / "tiny.yaml"
    file.write_text(yaml)
    return file


def write_stage(path: Path, stage: str, own: str, work: list[str]) -> None:
    """Write one stage notebook as DESIGN.md lays it out."""
    parameters = f"project: str = ''  # name\nrun_dir: str = ''  # folder\n{own}"
    sources = ["from tdsp import open_run", parameters, f"run, p = open_run({stage!r}, globals())", *work]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.cells[1].metadata.tags = ["parameters"]
    notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "python3"}
    nbformat.write(notebook, path)
