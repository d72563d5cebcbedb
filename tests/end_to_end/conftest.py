"""A run of the breast_cancer sample that the tests of whole runs share."""

import os
import shutil
from pathlib import Path

import pytest

from tdsp.core.files import file_lock
from tdsp.runner import pipeline

ROOT = Path(__file__).parents[2]
SHORT = "search_trials: 3\nn_resamples: 200\nimportance_repeats: 1\n"  # three models instead of sixteen


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run in a project of its own, to be read only; parallel workers make it once."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "sample"
    root.mkdir(exist_ok=True)
    with file_lock(root):
        if not (root / "finished").exists():
            for name in ("notebooks", "parameters"):
                shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("lib", ".ipynb_checkpoints"))
            parameters = root / "parameters" / "breast_cancer.yaml"
            parameters.write_text(parameters.read_text() + SHORT)
            (root / "finished").write_text(str(pipeline.run_file(parameters).folder))
    return Path((root / "finished").read_text())


@pytest.fixture
def short_project(project: Path) -> Path:
    """A project of its own with the parameters of `sample_run`."""
    parameters = project / "parameters" / "breast_cancer.yaml"
    parameters.write_text(parameters.read_text() + SHORT)
    return project
