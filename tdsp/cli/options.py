"""Arguments and options that several verbs share, and how they are read."""

from pathlib import Path
from typing import Annotated

import typer

from tdsp.core.errors import ParameterError
from tdsp.core.project import find_root

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="parameter files: parameters/NAME.yaml", show_default=False)
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="run id, a unique part of it, a folder, or: latest")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="folder of all runs [default: outputs/ of the project]")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a parameter's value; repeatable")]

RequireSignature = Annotated[
    bool,
    typer.Option("--require-signature", envvar="TDSP_REQUIRE_SIGNATURE", help="refuse a model that is not signed"),
]
VerifyKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="TDSP_VERIFY_KEY", help="public key of those who may sign models (PEM)"),
]


def required_key(required: bool, key: Path | None) -> Path | None:
    """Return the public key that a model has to be signed for; None where no signature is required."""
    if required and key is None:
        raise ParameterError("--require-signature needs the public key: --verify-key FILE, or TDSP_VERIFY_KEY.")
    return key if required else None


def outputs_folder(out: Path | None) -> Path:
    """Return the folder of all runs."""
    return out or find_root() / "outputs"


def shown_path(path: Path) -> str:
    """Return a path as short as it can be typed here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def parse_settings(settings: list[str] | None) -> dict[str, str]:
    """Return `name=value` texts as a mapping. Raises ParameterError."""
    pairs: dict[str, str] = {}
    for text in settings or []:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise ParameterError(f"--set takes NAME=VALUE, not {text!r}: for example --set cv_folds=3")
        if name.strip() in pairs:
            raise ParameterError(f"--set gives {name.strip()} twice; keep one.")
        pairs[name.strip()] = value
    return pairs
