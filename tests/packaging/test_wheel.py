"""The bundle as a wheel: equal bytes, installed by pip, refused when changed."""

import importlib.metadata
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tdsp.core.errors import BundleError
from tdsp.core.files import sha256_file
from tdsp.packaging import loader
from tdsp.packaging.bundle import load_model
from tdsp.packaging.wheel import build_wheel, open_wheel, package_name
from tdsp.registry.registry import find_model
from tests.packaging.test_bundle import reseal, write

SCRIPT = """
from tdsp_model_binary import FOLDER, predict
import pandas
golden = pandas.read_parquet(FOLDER / "golden.parquet")
found, expected = predict(golden).to_numpy(), golden.filter(like="expected.").to_numpy()
print(found.tobytes() == expected.tobytes(), len(found))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a LightGBM bundle."""
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(write(folder / "model", "binary", "lightgbm")[0], folder / "dist")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the wheel, and compiled its loader; tests that change it make a copy."""
    target = tmp_path_factory.mktemp("installed")
    done = run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel))
    assert done.returncode == 0, done.stderr
    return target


def rebuilt(wheel: Path, target: Path, name: str, change: bytes) -> Path:
    """The wheel with another content of one of its files."""
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, change if entry == name else old.read(entry))
    return target


def run(python: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [python, *arguments], capture_output=True, text=True, check=False, cwd="/", env=kept | environment
    )


def test_a_wheel_is_built_again_byte_for_byte(tmp_path: Path) -> None:
    """Fitted twice, in two places, on another day as far as the clock of the build says."""
    first = build_wheel(write(tmp_path / "one/model", "multiclass", "lightgbm")[0], tmp_path / "a")
    second = build_wheel(write(tmp_path / "two/model", "multiclass", "lightgbm")[0], tmp_path / "b")
    assert first.name == second.name
    assert sha256_file(first) == sha256_file(second)


def test_pip_installs_it_and_every_golden_bit_comes_back(installed: Path) -> None:
    """Also after pip has compiled the loader; what it requires of pip is what the bundle pins, and not this project."""
    assert list(installed.glob("tdsp_model_binary/bundle/code/tdsp_bundle/__pycache__/*.pyc"))
    assert run(sys.executable, "-c", SCRIPT, PYTHONPATH=str(installed)).stdout == "True 60\n"
    [distribution] = importlib.metadata.distributions(name="tdsp-model-binary", path=[str(installed)])
    pinned = (installed / "tdsp_model_binary/bundle/requirements.txt").read_text().split()
    assert distribution.requires == pinned
    assert not any(line.startswith("tdsp") for line in pinned)


CHANGES = """
import joblib, json
from tdsp_model_binary import FOLDER, load_model
real, joblib.load = joblib.load, lambda *_: 1 / 0
messages = {}
for path in [p for p in sorted(FOLDER.rglob("*")) if p.is_file() and p.suffix != ".pyc"]:
    before = path.read_bytes()
    path.write_bytes(before + b"\\n")
    try:
        load_model()
    except RuntimeError as error:
        messages[path.relative_to(FOLDER).as_posix()] = str(error)
    path.write_bytes(before)
joblib.load = real
load_model()
print(json.dumps(messages))
"""


def test_each_file_of_an_installed_wheel_is_watched(installed: Path, tmp_path: Path) -> None:
    """One byte more in any file of the bundle, byte code excepted, is refused by name, and nothing is unpickled."""
    copy = Path(shutil.copytree(installed, tmp_path / "copy"))
    done = run(sys.executable, "-c", CHANGES, PYTHONPATH=str(copy))
    assert done.returncode == 0, done.stderr
    messages = json.loads(done.stdout)
    files = [path for path in (copy / "tdsp_model_binary/bundle").rglob("*") if path.is_file()]
    assert len(messages) == len([path for path in files if path.suffix != ".pyc"]) >= 10
    assert [name for name, message in messages.items() if name not in message] == []


def test_byte_code_that_was_put_beside_the_loader_is_not_run(installed: Path, tmp_path: Path) -> None:
    """The package runs the text whose hash it knows."""
    shutil.copytree(installed, tmp_path, dirs_exist_ok=True)
    cache = next((tmp_path / "tdsp_model_binary/bundle/code/tdsp_bundle/__pycache__").glob("*.pyc"))
    cache.write_bytes(b"not byte code")
    assert run(sys.executable, "-c", SCRIPT, PYTHONPATH=str(tmp_path)).stdout == "True 60\n"


def test_a_wheel_is_opened_without_installing_it(wheel: Path, tmp_path: Path) -> None:
    """In the same way as a folder, and unpacked once."""
    folder = find_model(wheel, tmp_path)
    assert load_model(folder).replay_golden()["identical"]
    assert find_model(wheel, tmp_path) == folder


def test_a_changed_wheel_is_refused(wheel: Path, tmp_path: Path) -> None:
    """Each file of the bundle with one byte more; the former content is not served from the place of another."""
    inside = [name for name in zipfile.ZipFile(wheel).namelist() if "/bundle/" in name]
    assert len(inside) >= 10
    for name in inside:
        data = zipfile.ZipFile(wheel).read(name)
        changed = rebuilt(wheel, tmp_path / "changed.whl", name, data + b"\n")
        with pytest.raises(BundleError, match="was changed"):
            open_wheel(changed, tmp_path / "place")
    assert not list((tmp_path / "place").rglob("bundle.json"))


def test_what_was_changed_in_the_cache_of_a_wheel_is_unpacked_anew(wheel: Path, tmp_path: Path) -> None:
    """Another pickle with hashes and seal that fit it, a file more, a file less, a link: the wheel decides."""
    folder = find_model(wheel, tmp_path)
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "pipeline.joblib").write_bytes(pickle.dumps("evil"))
    reseal(folder)
    assert load_manifest_sha256(folder) != load_manifest_sha256(find_model(wheel, tmp_path))
    for change in (
        lambda: (folder / "more.txt").touch(),
        (folder / "schema.json").unlink,
        lambda: (folder / "MLmodel").unlink() or (folder / "MLmodel").symlink_to(folder / "schema.json"),
    ):
        change()
        again = find_model(wheel, tmp_path)
        assert {path.name: path.read_bytes() for path in again.rglob("*") if path.is_file()} == before
        assert not any(path.is_symlink() for path in again.rglob("*"))


def load_manifest_sha256(folder: Path) -> str:
    """The hash that names a bundle's bytes."""
    return sha256_file(folder / "bundle.json")


def test_a_wheel_that_says_it_is_huge_is_refused_unread(wheel: Path, tmp_path: Path) -> None:
    """A zip bomb: 400 kB that would unpack to 400 MB."""
    inside = next(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/bundle/bundle.json"))
    document = json.loads(zipfile.ZipFile(wheel).read(inside))
    document["files"]["pipeline.joblib"]["bytes"] = 400_000_000
    changed = rebuilt(wheel, tmp_path / "bomb.whl", inside, json.dumps(document).encode())
    with pytest.raises(BundleError, match="would unpack to 400,"):
        open_wheel(changed, tmp_path / "place")


@pytest.mark.parametrize("name", ["../../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "..\\evil.txt"])
def test_no_file_of_a_wheel_leaves_its_folder(wheel: Path, tmp_path: Path, name: str) -> None:
    """A bundle that lists a path outside is refused, and nothing is written there."""
    inside = next(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/bundle/bundle.json"))
    document = json.loads(zipfile.ZipFile(wheel).read(inside))
    document["files"][name] = {"sha256": "0" * 64, "bytes": 4}
    changed = rebuilt(wheel, tmp_path / "out.whl", inside, loader.canonical(loader.sealed(document)))
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr(inside.removesuffix("bundle.json") + name, b"evil")
    with pytest.raises(BundleError, match="was changed"):
        open_wheel(changed, tmp_path / "a/b/place")
    assert not list(tmp_path.rglob("*evil.txt")) and not Path("/tmp/evil.txt").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "was changed or cut off"), (b"no zip", "was changed or cut off"), (None, "There is no wheel")],
)
def test_what_is_no_wheel_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Nothing, something else, another package."""
    if content is not None:
        (tmp_path / "a.whl").write_bytes(content)
    with pytest.raises(BundleError, match=message):
        open_wheel(tmp_path / "a.whl", tmp_path / "place")


def test_a_wheel_of_another_package_is_named(tmp_path: Path) -> None:
    """There is no model of ours in it."""
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(BundleError, match="holds no model of tdsp"):
        open_wheel(tmp_path / "other.whl", tmp_path / "place")


def test_a_bundle_that_was_changed_makes_no_wheel(wheel: Path, tmp_path: Path) -> None:
    """An installed model was whole when its wheel was built."""
    folder = Path(shutil.copytree(find_model(wheel, tmp_path), tmp_path / "model"))
    (folder / "schema.json").write_text("{}")
    with pytest.raises(BundleError, match=r"schema\.json was changed"):
        build_wheel(folder, tmp_path)
    assert not list(tmp_path.glob("*.whl"))


def test_names_become_packages() -> None:
    """Blanks, signs and foreign letters do not reach an import statement."""
    assert [package_name(name) for name in ("flights", "NYC flights-2", "Übung", "…")] == [
        "tdsp_model_flights",
        "tdsp_model_nyc_flights_2",
        "tdsp_model_bung",
        "tdsp_model_unnamed",
    ]
