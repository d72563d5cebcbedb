"""The set-up: the lock, the conda environment, the wheel and the Makefile agree with pyproject.toml."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.txt").read_text()
GOOD_LOCK = (
    f"rich==14.1.0 ; python_full_version >= '3.11' \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"
)


def declared(project: dict) -> list[Requirement]:
    """Return every requirement of a pyproject.toml: to run, to develop and to build."""
    extras = project["project"].get("optional-dependencies", {}).values()
    lists = [project["project"]["dependencies"], *extras, project["build-system"]["requires"]]
    return [Requirement(line) for group in lists for line in group]


def entries(lock: str) -> list[str]:
    """Return the lock's logical lines, without comments."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", lock))
    return [line.strip() for line in text.splitlines() if line.strip()]


def lock_problems(lock: str, project: dict) -> list[str]:
    """Return what is wrong with a lock: an unpinned or unhashed line, an address, an absent or unfit dependency."""
    pins: dict[str, list[str]] = {}
    problems = [
        f"an address: {line}" for line in lock.splitlines() if "://" in line or re.search(r"--\w*(index|find)", line)
    ]
    for entry in entries(lock):
        head, *hashes = entry.split("--hash=")
        pin = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==([^\s;]+)(\s*;.*)?", head.strip())
        if not pin:
            problems.append(f"not a pin: {head.strip()}")
            continue
        pins.setdefault(canonicalize_name(pin[1]), []).append(pin[2])
        if not hashes or any(not re.fullmatch(r"sha256:[0-9a-f]{64}", h.strip()) for h in hashes):
            problems.append(f"no hash: {pin[1]}")
    for need in declared(project):
        versions = pins.get(canonicalize_name(need.name), [])
        if not versions or not all(need.specifier.contains(v) for v in versions):
            problems.append(f"{need} is locked as {versions}")
    return problems


def conda_problems(environment: dict, project: dict) -> list[str]:
    """Return where a conda environment says something else than Python of pyproject.toml, pip and the lock."""
    wanted = [f"python{project['project']['requires-python']}", "pip", {"pip": ["-r requirements.txt"]}]
    found = environment["dependencies"]
    wrong = [f"{item} should not be there" for item in found if item not in wanted]
    wrong += [f"{item} is missing" for item in wanted if item not in found]
    return wrong + ([] if environment["name"] == project["project"]["name"] else ["another name"])


def test_the_lock_pins_and_hashes_every_dependency():
    """Each dependency is in the lock in a version that pyproject allows, with hashes and without an address."""
    assert lock_problems(LOCK, PROJECT) == []


@pytest.mark.parametrize(
    ("lock", "problem"),
    [
        (GOOD_LOCK.replace("==14", ">=14"), "not a pin: rich>=14.1.0"),
        (GOOD_LOCK.split("\\")[0], "no hash: rich"),
        (GOOD_LOCK.replace("a" * 64, "a" * 63), "no hash: rich"),
        ("--index-url https://example.invalid/simple\n" + GOOD_LOCK, "an address: --index-url"),
        (GOOD_LOCK.replace("==14.1.0", " @ https://example.invalid/rich.whl"), "an address: rich @"),
        (GOOD_LOCK.replace("14.1.0", "13.0"), r"rich>=14 is locked as \['13.0'\]"),
        (GOOD_LOCK.replace("rich", "rick"), r"rich>=14 is locked as \[\]"),
    ],
)
def test_a_bad_lock_is_noticed(lock: str, problem: str):
    """A loose, unhashed, misplaced, outdated or absent pin is named."""
    project = {"project": {"dependencies": ["rich>=14"]}, "build-system": {"requires": []}}
    assert lock_problems(GOOD_LOCK, project) == []
    assert any(re.match(problem, found) for found in lock_problems(lock, project))


def test_the_conda_environment_is_python_pip_and_the_lock():
    """Conda users get the same versions, for conda itself decides on Python and pip only."""
    assert conda_problems(yaml.safe_load((ROOT / "environment.yml").read_text()), PROJECT) == []


@pytest.mark.parametrize(("old", "new"), [(">=3.11", ">=3.10"), ("  - pip\n", ""), ("name: tdsp", "name: base")])
def test_a_conda_environment_that_differs_is_noticed(old: str, new: str):
    """Another Python, no pip or another name is a finding."""
    text = (ROOT / "environment.yml").read_text().replace(old, new)
    assert conda_problems(yaml.safe_load(text), PROJECT)


def test_ruff_and_the_workflows_know_the_oldest_python():
    """The oldest supported Python is the one that ruff writes for and CI runs on."""
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    for workflow in (".github/workflows/ci.yml", "azure-pipelines.yml"):
        text = (ROOT / workflow).read_text()
        assert yaml.safe_load(text)
        assert f'"{oldest}"' in text
        assert ".ci/run" in text


def test_the_wheel_carries_modules_notebooks_parameters_and_templates(tmp_path: Path):
    """Files that `tdsp init` copies and templates of pages are inside the wheel; the library's notebooks are not."""
    source = tmp_path / "source"
    skip = shutil.ignore_patterns("__pycache__", "_modidx.py", ".ipynb_checkpoints")
    for folder in ("tdsp", "notebooks", "parameters"):
        shutil.copytree(ROOT / folder, source / folder, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {p.relative_to(source).as_posix() for p in (source / "tdsp").rglob("*") if p.is_file()}
    shipped = [*source.glob("notebooks/*.ipynb"), *(p for p in source.glob("parameters/*") if p.is_file())]
    assert inside == wanted | {f"tdsp/{p.relative_to(source).as_posix()}" for p in shipped}


IMPORT = "import site, sys; site.addsitedir(sys.argv[1]); import tdsp; print(tdsp.__file__, tdsp.__all__[0])"


def test_beside_a_clone_called_tdsp_the_package_is_found_and_not_the_folder(tmp_path: Path):
    """`import tdsp` above the checkout is no empty namespace; editable, as `make` installs it."""
    clone, site = tmp_path / "tdsp", tmp_path / "site"
    skip = shutil.ignore_patterns("__pycache__", "_modidx.py", ".ipynb_checkpoints", "lib")
    for folder in ("tdsp", "notebooks", "parameters"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, clone)
    build = f"from setuptools.build_meta import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=clone, check=True, capture_output=True)
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(site)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for cwd in (tmp_path, clone, clone / "tdsp"):
        command = [sys.executable, "-S", "-c", IMPORT, str(site)]
        done = subprocess.run(command, cwd=cwd, env=bare, capture_output=True, text=True, check=False)
        assert done.stdout.split() == [str(clone / "tdsp/__init__.py"), "compare"], done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what the Makefile reads to decide on set-up, and an environment that is ready."""
    folder = tmp_path / "a clone"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "setup.py"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv/bin/python").symlink_to(sys.executable)
    (folder / ".venv/.ready").write_text(f"{folder.resolve()}\n")
    return folder


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in the clone; with `-n` it only prints what it would do."""
    return subprocess.run(["make", *arguments], cwd=clone, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_target(clone: Path):
    """`make` starts nothing: it shows the words that there are."""
    listed = re.findall(r"^make ([\w-]+)", make(clone).stdout, re.M)
    assert listed == ["help", "run", "test", "test-all", "lint", "lab", "bench", "export", "clean"]


def test_set_up_is_skipped_when_nothing_changed(clone: Path):
    """A second `make run` goes straight to the run."""
    assert make(clone, "-n", "run").stdout == ".venv/bin/tdsp run parameters/flights.yaml\n"


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml", "setup.py"])
def test_a_newer_lock_or_project_file_is_installed_into_the_same_environment(clone: Path, name: str):
    """A changed file brings packages up to date; it throws no environment away."""
    later = (clone / ".venv/.ready").stat().st_mtime + 10
    os.utime(clone / name, (later, later))
    planned = make(clone, "-n", "test").stdout
    assert "--require-hashes -r requirements.txt" in planned
    assert "--no-deps --no-build-isolation -e ." in planned
    assert "venv --" not in planned


@pytest.mark.parametrize("uv", ["uv", ""])
def test_a_moved_clone_gets_a_new_environment(clone: Path, uv: str):
    """Installed scripts hold the old path: after a move they are made again, by uv or by pip."""
    moved = clone.rename(clone.with_name("moved"))
    planned = make(moved, "-n", "test", f"UV={uv}").stdout
    assert ("uv venv" if uv else "-m venv --clear") in planned
    assert ("uv pip install" if uv else "-m pip install") in planned


@pytest.mark.parametrize("python", ["false", ""])  # one that does not fit, and none at all
def test_an_old_python_stops_the_set_up_with_a_message(clone: Path, python: str):
    """Without a Python that fits, make says what is needed and how to get it, and leaves .venv alone."""
    done = make(clone, "new-venv", f"PYTHON={python}")
    assert done.returncode == 2
    assert "tdsp needs Python 3.11 or newer" in done.stderr
    assert "PYTHON=/path/to/python" in done.stderr
    assert (clone / ".venv/.ready").exists()
