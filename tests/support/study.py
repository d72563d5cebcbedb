"""The cells of the first stage notebooks in this process, on a table of a test's own: the real calls in seconds."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

from tdsp.core.project import STAGES
from tdsp.core.results import Headline

ROOT = Path(__file__).parents[2]


def run_cells(folder: Path, frame: pd.DataFrame, *, before: str = "", **settings: Any) -> dict[str, Any]:
    """Execute stages 1 to 3 in `folder/run` with these parameters; return the names that the third one leaves.

    The second ends where it has written parts and schema, the third before the first cell that holds the text `before`.
    Raises what a cell raises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "table.parquet")
    given = {
        "run_dir": str(folder / "run"),
        "sources": {"table": str(folder / "table.parquet")},
        "target": "y",
    } | settings
    for stage in STAGES[:3]:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        cells = json.loads((ROOT / "notebooks" / f"{stage}.ipynb").read_text())["cells"]
        for cell in (cell for cell in cells if cell["cell_type"] == "code"):
            source = "".join(cell["source"])
            if before and stage == STAGES[2] and before in source:
                break
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, stage, "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", []):
                namespace |= {name: value for name, value in given.items() if name in namespace}
            if stage == STAGES[1] and "write_schema(" in source:
                namespace["run"].finish(Headline("Proceed", "ok", "The parts are settled."))
                break
    return namespace
