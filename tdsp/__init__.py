"""A reproducible machine-learning workflow in five notebooks, after Microsoft's Team Data Science Process.

Public names are loaded on first use, so that `import tdsp` costs a few milliseconds.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "open_run": "config.parameters",
    "show": "reporting.show",
    "load_model": "registry.registry",
    "read_record": "core.record",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tdsp' has no attribute {name!r}")
    return getattr(import_module(f"tdsp.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
