"""Kernels of this interpreter that nobody else can reach and that never outlive the process that started them."""

# Run as a module (`python -m tdsp.runner.kernels NAMES -f FILE`) it is such a kernel: it imports the modules NAMES,
# which the notebook's first cell is about to import, and goes on as ipykernel. Started while the stage before is
# still running, it is ready when its own stage begins.

import ast
import ctypes
import fcntl
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen

    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

START_LIMIT = 120  # seconds for a kernel to answer on a busy machine
SOCKET_PATH = 80  # characters; macOS takes 103 for the whole path of a socket
LATER = {"show": "matplotlib.pyplot"}  # what `from tdsp import show` loads when it is first called


class Kernel:
    """A kernel process, the manager that talks to it, and the folder of its sockets."""

    def __init__(self, manager: "AsyncKernelManager", folder: Path, lock: IO[bytes]):
        self.manager, self.folder, self.lock = manager, folder, lock

    @property
    def process(self) -> "Popen[bytes] | None":
        """The process, a `Popen`; None before it was started."""
        return getattr(self.manager.provisioner, "process", None)

    def explain(self, error: BaseException, limit: float | None) -> str:
        """Return in one sentence or two why a notebook did not finish here."""
        kind = type(error).__name__
        if kind == "CellTimeoutError" and "IOPub" not in str(error):
            return f"The cell ran longer than its limit of {limit:g} seconds. Raise it with --cell-timeout."
        if kind == "DeadKernelError" or (kind == "RuntimeError" and "died" in str(error)):
            return f"The kernel {self._end()}.{self._last_words()}"
        return "Interrupted." if isinstance(error, KeyboardInterrupt) else str(error)

    def _end(self) -> str:
        code = self.process.poll() if self.process is not None else None
        if code is None or code >= 0:
            return f"ended by itself with exit code {code}" if code is not None else "is gone"
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (": often the system had no memory left" if name == "SIGKILL" else "")

    def _last_words(self) -> str:
        text = (self.folder / "kernel.log").read_text(encoding="utf-8", errors="replace").strip()
        return f" Its last words:\n{text[-2000:]}" if text else ""

    def end(self) -> None:
        """Kill the kernel with all it started, wait until it is gone, and remove its folder."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # it ended before us, with its whole group
                os.killpg(getattr(self.manager.provisioner, "pgid", None) or self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.manager.context.destroy(linger=0)  # left to the garbage collector, it may wait for its sockets for ever
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()


def start_kernel(
    name: str = "python3",
    *,
    cwd: str | Path | None = None,
    environment: dict[str, str] | None = None,  # added to this process's own
    preload: Sequence[str] = (),  # modules to import before it answers
) -> Kernel:
    """Start a kernel without waiting for it; it dies with the thread that called this."""
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.util import run_sync

    folder, lock = _private_folder()
    transport = "ipc" if can_bind(folder) else "tcp"
    manager = AsyncKernelManager(
        kernel_name=name,
        kernel_spec_manager=_specs(name, folder, preload),
        connection_file=str(folder / "k.json"),
        transport=transport,
    )
    kernel = Kernel(manager, folder, lock)
    prepare = _die_with_parent if sys.platform == "linux" else None
    extra = ["--HistoryManager.enabled=False"] if name == "python3" else []
    environment = kernel_environment(folder) | (environment or {})
    try:
        with open(folder / "kernel.log", "wb") as log:
            start = run_sync(manager.start_kernel)
            start(
                cwd=str(cwd or Path.cwd()),
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=prepare,
                extra_arguments=extra,
            )
    except BaseException:
        kernel.end()
        raise
    return kernel


def _private_folder() -> tuple[Path, IO[bytes]]:
    """Return a new folder for this user alone, and the lock that says it is in use."""
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > SOCKET_PATH - 40 and os.access("/tmp", os.W_OK):
        parent = Path("/tmp")
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix="tdsp-", dir=parent))
    lock = open(folder / "new", "wb")  # noqa: SIM115  # held as long as the kernel
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "new").rename(folder / "lock")
    return folder, lock


def sweep(parent: Path) -> None:
    """Remove the folders of processes that were killed before they could: nobody holds their lock any more."""
    for path in parent.glob("tdsp-*/lock"):
        with suppress(OSError), open(path, "rb") as lock:  # in use, another user's, or just gone
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)


def can_bind(folder: Path) -> bool:
    """Whether a socket can be made in a folder; some file systems and long paths refuse."""
    path = folder / "probe"
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        path.unlink()
    except OSError:
        return False
    return len(str(folder)) <= SOCKET_PATH


def _specs(name: str, folder: Path, preload: Sequence[str]) -> "KernelSpecManager":
    """Return where a kernel is looked up: `python3` is this very interpreter, whatever the user has registered."""
    from jupyter_client.kernelspec import KernelSpecManager

    if name != "python3":
        return KernelSpecManager()
    argv = [sys.executable, "-m", "tdsp.runner.kernels", ",".join(preload), "-f", "{connection_file}"]
    spec = folder / "kernels" / name / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    return KernelSpecManager(kernel_dirs=[str(folder / "kernels")], ensure_native_kernel=False)


def kernel_environment(folder: Path) -> dict[str, str]:
    """Return this process's environment without what a user's own set-up would change in a run."""
    dropped = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONHASHSEED", "IPYTHONDIR")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"PYTHONHASHSEED": "0", "IPYTHONDIR": str(folder / "ipython")}


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it is gone, however that came about."""
    assert _LIBC is not None
    _LIBC.prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


# in the kernel itself ----------------------------------------------------------------------------------------------
def modules_of(notebook: Path) -> list[str]:
    """Return the modules that the first code cell of a notebook imports; none where it cannot be read."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        source = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        statements = ast.parse(source).body
    except (OSError, ValueError, KeyError, StopIteration, SyntaxError):
        return []  # whoever executes the notebook says so better
    names: list[str] = []
    for node in statements:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(LATER[alias.name] for alias in node.names if alias.name in LATER)]
    return list(dict.fromkeys(names))


def run_as_kernel() -> None:
    """Import what was asked for, then be an ipykernel."""
    if sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]  # as ipykernel_launcher does; modules beside the notebook are imported by the notebook
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # before matplotlib looks
    for name in filter(None, sys.argv.pop(1).split(",")):
        with suppress(Exception):  # the notebook's own import tells of it
            importlib.import_module(name)
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    run_as_kernel()
