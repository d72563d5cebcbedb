"""The command `tdsp`: each verb parses, calls one function, prints its result and says what to do next."""

# Results go to stdout, progress and errors to stderr. Exit codes: 0 done and accepted, 1 failed while running,
# 2 bad input, 3 rejected or insufficient evidence, 4 an alarm of the monitor, 130 interrupted.

import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Protocol, runtime_checkable

import typer

from tdsp.cli import doctor, models, monitoring, predictions, projects, run, runs
from tdsp.cli.console import echo, warn
from tdsp.core.errors import ExitCode, TdspError, did_you_mean

app = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Any verb takes --debug: errors then come with their traceback.",
)


@app.callback()
def tdsp(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="print the version and stop")] = False,
) -> None:
    """From a table and a question to a verdict, reports and a packaged model, in five notebooks."""
    if version:
        from importlib.metadata import version as installed

        echo(f"tdsp {installed('tdsp')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        warn(context.get_help())
        raise typer.Exit(ExitCode.BAD_INPUT)


EXAMPLES: dict[Callable[..., int], str] = {
    run.run: "tdsp run parameters/flights.yaml --set cv_folds=3",
    projects.init: "tdsp init churn.csv --target churned",
    projects.check: "tdsp check parameters/flights.yaml",
    projects.ingest: "tdsp ingest parameters/flights.yaml",
    runs.runs: "tdsp runs --project flights",
    runs.show: "tdsp show latest",
    runs.compare: "tdsp compare 41d0 latest",
    runs.report: "tdsp report latest",
    predictions.predict: "tdsp predict flights@champion new.csv -o scored.parquet",
    predictions.serve: "tdsp serve flights@champion",
    monitoring.monitor: "tdsp monitor flights@champion new.csv --labels late",
    monitoring.cycle: "tdsp cycle parameters/flights.yaml --explain",
    models.track: "tdsp track --pending",
    models.models: "tdsp models flights",
    models.promote: "tdsp promote flights@challenger",
    models.rollback: "tdsp rollback flights --reason 'misses the new schedule'",
    models.sign: "tdsp sign flights@champion",
    models.verify: "tdsp verify flights@champion --verify-key public.pem",
    doctor.doctor: "tdsp doctor",
}
for verb, example in EXAMPLES.items():
    app.command(epilog=f"Example: {example}")(verb)


def call(arguments: list[str]) -> int:
    """Run one command; return its exit code. An error is one message on stderr."""
    if "--debug" in arguments:
        os.environ["TDSP_DEBUG"] = "1"  # core and the kernels read it too
        arguments = [text for text in arguments if text != "--debug"]
    try:
        return app(arguments, prog_name="tdsp", standalone_mode=False) or 0
    except TdspError as error:
        return _fail(error, str(error), error.exit_code)
    except Exception as error:
        if isinstance(error, UsageError):
            return _fail(error, _usage(error), ExitCode.BAD_INPUT)
        if isinstance(error, OSError) and error.strerror:
            place = f": {error.filename}" if error.filename else ""
            return _fail(error, f"{error.strerror}{place}", ExitCode.FAILED)
        return _fail(
            error, f"{type(error).__name__}: {error}\nThis was not foreseen; --debug shows where.", ExitCode.FAILED
        )


def _fail(error: BaseException, message: str, code: ExitCode) -> int:
    if os.environ.get("TDSP_DEBUG"):
        warn("".join(traceback.format_exception(error)))
    warn(f"error: {message}")
    return code


@runtime_checkable
class UsageError(Protocol):
    """An error of typer's own, whose class it hides: a verb or option that does not exist."""

    def format_message(self) -> str: ...


def _usage(error: UsageError) -> str:
    """Return a usage error worded like the other errors."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "tdsp"
    message = error.format_message().rstrip(".")
    if message.startswith("No such command") and "Did you mean" not in message:
        word = message.split("'")[1]
        message += "." + did_you_mean(word, typer.main.get_group(app).commands)
    return f"{message.rstrip('.?')}{'?' if message.endswith('?') else '.'} `{path} --help` shows what there is."


def main() -> None:
    """Be the command `tdsp`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without the signs of a verdict still shows it
    sys.exit(call(sys.argv[1:]))


if __name__ == "__main__":
    main()
