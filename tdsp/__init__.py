"""A reproducible machine-learning workflow in five notebooks, and its functions for a notebook of your own.

On a pandas DataFrame, without a run or a project:

    read_table(uri)                     a table from a file, folder, URL or database, with what was detected in it
    profile(df, target)                 what each column holds, and what is odd about the table
    find_leaks(df, target)              columns that may give the target away
    split(df, target)                   training and test set: at random, by groups or by time
    search(X, y)                        the best of several model families, scored on held-out rows
    score(y_true, y_prob, metric)       a score with its interval
    compare(y_true, a, b)               two models on the same rows, and their difference with its interval
    gate(estimate, at_least=0.7)        go, no-go or insufficient evidence
    explain(model, X, y)                which columns a model relies on, and where its prediction goes along them
    monitor(reference, current)         what moved or broke in later rows, and whether predictions still hold

On what a run has made:

    load_model(run)                     the packaged model, checked before it is opened
    read_record(folder)                 the record of a run
    open_run(stage, globals())          the run and the parameters of a stage notebook
    show(run, thing, name)              a figure, table or gate as the report shows it

Every function is shown with its output in docs/api.md; `help(tdsp.score)` has parameters, errors and an example.
Names are loaded on first use, so that `import tdsp` costs a few milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tdsp.config.parameters import open_run
    from tdsp.core.record import read_record
    from tdsp.data.tables import read_table, split
    from tdsp.evaluation.explanation import explain
    from tdsp.exploration.overview import find_leaks, profile
    from tdsp.modeling.quick_search import search
    from tdsp.monitoring.tables import monitor
    from tdsp.registry.registry import load_model
    from tdsp.reporting.show import show
    from tdsp.stats.scoring import compare, gate, score

_HOME = {
    "compare": "stats.scoring",
    "explain": "evaluation.explanation",
    "find_leaks": "exploration.overview",
    "gate": "stats.scoring",
    "load_model": "registry.registry",
    "monitor": "monitoring.tables",
    "open_run": "config.parameters",
    "profile": "exploration.overview",
    "read_record": "core.record",
    "read_table": "data.tables",
    "score": "stats.scoring",
    "search": "modeling.quick_search",
    "show": "reporting.show",
    "split": "data.tables",
}
__all__ = ["compare", "explain", "find_leaks", "gate", "load_model", "monitor", "open_run", "profile", "read_record"]
__all__ += ["read_table", "score", "search", "show", "split"]

if not TYPE_CHECKING:  # a type checker takes the imports above, and reports every other name

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'tdsp' has no attribute {name!r}")
        return getattr(import_module(f"tdsp.{_HOME[name]}"), name)

    def __dir__() -> list[str]:
        return __all__
