"""Small tables that are hard on a model."""

import numpy as np
import pandas as pd

NAN = float("nan")
CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}


def mixed_table(n=240, seed=0):
    """Text with rare levels, numbers with gaps, names that LightGBM dislikes, an empty and a constant column."""
    rng = np.random.default_rng(seed)
    text = pd.Series(rng.choice(["JFK", "LGA", "(missing)", "größe"], n), dtype=object)
    text[0] = "seen once"
    X = pd.DataFrame({'{"a":[1]}': rng.normal(size=n), "x, y:z": rng.normal(size=n), "<b>origin</b>": text})
    X.loc[::7, "x, y:z"] = NAN
    return X.assign(empty=NAN, constant=1.0)


def target_of(X, task, seed=0):
    """A target that the columns explain in part."""
    signal = X['{"a":[1]}'] + (X["<b>origin</b>"] == "JFK") + np.random.default_rng(seed).normal(scale=0.5, size=len(X))
    if task == "regression":
        return signal.to_numpy()
    return np.digitize(signal, np.quantile(signal, [0.6] if task == "binary" else [0.3, 0.7]))
