"""The verbs about models in use: what MLflow knows of the runs, which version is the champion, and how that changes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tdsp.cli.console import echo, echo_json, echo_table, warn
from tdsp.cli.options import Json, Out, VerifyKey, outputs_folder
from tdsp.core.errors import BundleError
from tdsp.core.files import file_lock, sha256_bytes
from tdsp.core.formatting import format_date
from tdsp.core.record import find_run


def track(
    names: Annotated[list[str] | None, typer.Argument(metavar="RUN…", help="runs to send", show_default=False)] = None,
    pending: Annotated[bool, typer.Option("--pending", help="send all runs that still wait")] = False,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Send runs to MLflow: outputs/mlflow.db, or the server that MLFLOW_TRACKING_URI names.

    A run is sent once. An accepted one is also registered, as the challenger. Exit code 1 when one could not be sent.
    """
    from tdsp.registry import registry, tracking

    outputs = outputs_folder(out)
    folders = [find_run(name, outputs) for name in names or []]
    with file_lock(outputs):
        done = [tracking.send(folder, outputs) for folder in folders]
    done += tracking.send_waiting(outputs) if pending else []
    for tracked in [tracked for tracked in done if not tracked.error]:
        folder = find_run(tracked.run_id, outputs)
        try:
            registry.register_challenger(folder, outputs)
        except BundleError as error:
            tracking.enqueue(folder)  # sent again, it is offered again
            warn(f"{tracked.run_id} is not registered yet: {error}")
    left = [folder.name for folder in tracking.waiting(outputs)]
    if as_json:
        echo_json({"sent": done, "waiting": left})
    else:
        print_tracked(done, left)
    return 1 if any(tracked.error for tracked in done) else 0


def print_tracked(done: list[Any], left: list[str]) -> None:
    """Print where runs were sent, and which still wait."""
    for tracked in done:
        echo(f"{tracked.run_id}: {tracked.error or f'sent to {tracked.server}'}")
    if left:
        warn(f"{len(left)} run{'s' * (len(left) > 1)} waiting.  Next: tdsp track --pending")
    else:
        echo("Nothing waits.  Next: tdsp models")


def models(
    name: Annotated[str, typer.Argument(metavar="NAME", help="one model, with its history", show_default=False)] = "",
    out: Out = None,
    as_json: Json = False,
) -> int:
    """List the registered models as MLflow has them now: versions, aliases, and the run each came from."""
    from tdsp.registry import registry

    boards = [board for board in registry.refresh(out) if name in ("", board.name)]
    if as_json:
        echo_json(boards)
    elif not boards:
        echo(f"No model {name + ' ' if name else ''}is registered.  Next: tdsp promote RUN")
    else:
        print_models(boards, history=bool(name))
    return 0


def print_models(boards: list[Any], *, history: bool) -> None:
    """Print the versions, and the moves of the first board where they are asked for."""
    rows: list[tuple[str, ...]] = []
    for board in boards:
        for version in reversed(board.versions):
            held = ", ".join(sorted(alias for alias, number in board.aliases.items() if number == version.version))
            when = format_date(version.registered_at)
            rows.append((board.name, str(version.version), held, version.verdict, when, version.run_id))
    echo_table(("model", "version", "alias", "verdict", "registered", "run"), rows)
    if history:
        rows = [
            (format_date(m.at), m.alias, str(m.before or ""), str(m.version), m.by, m.reason) for m in boards[0].history
        ]
        echo("")
        echo_table(("moved", "alias", "from", "to", "by", "reason"), rows)
    name = boards[0].name
    is_in_use = "champion" in boards[0].aliases
    echo(f"\nNext: {f'tdsp predict {name}@champion DATA -o OUT' if is_in_use else f'tdsp promote {name}@VERSION'}")


def _render_index(out: Path | None) -> None:
    from tdsp.registry import registry
    from tdsp.reporting import pages

    outputs = outputs_folder(out)
    pages.render_index(outputs, registry.runs_in_service(outputs))


def promote(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="run, NAME@challenger or NAME@VERSION")],
    alias: Annotated[str, typer.Option(metavar="ALIAS", help="name it gets: champion or challenger")] = "champion",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="needed for a run that was not accepted; kept")] = "",
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Make a model the champion. What the run's gates did not accept needs a reason, which is recorded."""
    from tdsp.registry import registry

    version = registry.promote(model, alias=alias, reason=reason, outputs=out)
    _render_index(out)
    if as_json:
        echo_json(version)
    else:
        echo(f"{version.name}@{alias} is version {version.version}, of the run {version.run_id}")
        echo(f"Next: tdsp predict {version.name}@{alias} DATA -o OUT, or back: tdsp rollback {version.name}")
    return 0


def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="the model")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why; kept in the history")] = "",
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Make the champion before the present one the champion again."""
    from tdsp.registry import registry

    version = registry.rollback(name, reason=reason, outputs=out)
    _render_index(out)
    if as_json:
        echo_json(version)
    else:
        echo(f"{name}@champion is version {version.version} again, of the run {version.run_id}")
        echo(f"Next: tdsp models {name}")
    return 0


def sign(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="run, bundle folder, NAME@champion or NAME@3")],
    out: Out = None,
) -> int:
    """Sign a model with the key that TDSP_SIGNING_KEY names, in the form of OpenSSF Model Signing.

    A run that is packaged while the key is named is signed at once. The key's password is in TDSP_SIGNING_PASSWORD.
    """
    from tdsp.packaging import bundle, signing
    from tdsp.registry.registry import find_model

    if model.endswith(".whl"):
        raise BundleError("A wheel carries the signature of its bundle: sign the run's model before it is packed.")
    folder = find_model(model, out)
    bundle.check(folder)
    fingerprint = signing.sign_bundle(folder)
    echo(f"{folder / signing.SIGNATURE} is the signature of the key {fingerprint}")
    echo(f"Next: tdsp verify {model} --verify-key PUBLIC.pem")
    return 0


def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="run, bundle folder, wheel, NAME@champion or NAME@3")],
    verify_key: VerifyKey = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Say what shows that a model is genuine: its files, the record beside it, its signature. Nothing of it is run.

    Exit code 0 with a signature of the key, 3 without one, 2 for a model that was changed or signed by another key.
    """
    from tdsp.packaging import bundle, loader, signing
    from tdsp.registry.registry import find_model

    folder = find_model(model, out)
    signer = signing.signer_of(folder)
    signed_sha256 = signing.verify_signature(folder, verify_key) if verify_key and signer else ""
    manifest = bundle.check(folder, signed_sha256)
    found = {
        "model": str(folder),
        "sha256": sha256_bytes(loader.canonical(manifest)),
        "files": len(manifest["files"]),
        "recorded": bool(bundle.recorded_sha256(folder)),
        "signed_by": signer,
        "signature_verified": bool(signed_sha256),
    }
    if as_json:
        echo_json(found)
    else:
        print_proof(found, has_key=verify_key is not None)
    return 0 if signed_sha256 else 3


def print_proof(found: dict[str, Any], *, has_key: bool) -> None:
    """Print what each of hashes, record and signature shows."""
    note = "is in the record beside it" if found["recorded"] else "has no record beside it"
    unsigned = "the key that signed it was not given: --verify-key PUBLIC.pem" if not has_key else "not verified"
    signature = "holds" if found["signature_verified"] else unsigned if found["signed_by"] else "there is none"
    rows = [
        ("files", f"{found['files']} as listed in bundle.json, no other: they fit one another"),
        ("record", f"{found['sha256'][:12]} {note}"),
        ("signature", signature + (f" (key {found['signed_by']})" if found["signed_by"] else "")),
    ]
    echo(found["model"])
    echo_table(("what", "found"), rows)
    if not found["signature_verified"]:
        warn("Nothing here shows who made this model: whoever can write there can rewrite it with its record.")
