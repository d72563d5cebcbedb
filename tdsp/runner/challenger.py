"""Two models on the same rows: who is better, and whether the new one can take over."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tdsp.core.errors import BundleError
from tdsp.core.formatting import count_of
from tdsp.monitoring.decisions import Comparison, compare_losses, largest_difference
from tdsp.monitoring.performance import loss_scale, row_loss, unit_losses
from tdsp.monitoring.reference import ReferenceRecord
from tdsp.packaging.bundle import LoadedModel
from tdsp.packaging.loader import prediction_columns
from tdsp.serving.batch import read_pieces
from tdsp.serving.monitored_rows import scored_truth, truth_codes
from tdsp.serving.row_validation import validate_rows

MORE_REFUSED = 0.01  # share of rows that a new model may refuse beyond what the champion refuses
METRICS = {"binary": "the Brier score", "multiclass": "the Brier score", "regression": "the clipped squared error"}


@dataclass(frozen=True, slots=True, eq=False)
class LabeledFile:
    """Rows in order of their time, as a file that any model can predict."""

    path: Path  # Parquet
    times: pd.Series
    target: pd.Series


def predict_rows(model: LoadedModel, path: Path) -> np.ndarray:
    """Return the predictions of a file, (n_rows, k), as batch predictions give them; NaN where a row is refused."""
    found = []
    for _, typed in read_pieces(path, model.schema):
        frame, reasons = validate_rows(typed(), model.schema)
        kept = np.setdiff1d(np.arange(len(frame)), list(reasons))
        piece = np.full((len(frame), len(prediction_columns(model.schema))), np.nan)
        if len(kept):
            piece[kept] = model.predict(frame.iloc[kept], str(path)).to_numpy(dtype=float)
        found.append(piece)
    return np.concatenate(found)


def encode_target(model: LoadedModel, target: pd.Series) -> np.ndarray:
    """Return the truth as the model's numbers, (n_rows,); NaN for a class that it does not know."""
    return scored_truth(model.schema, truth_codes(model.schema, target))


def compare_models(
    champion: LoadedModel, challenger: LoadedModel, rows: LabeledFile, reference: ReferenceRecord
) -> Comparison:
    """Compare on the rows that both predict and whose truth both know, by day. Raises BundleError for unlike tasks."""
    task = champion.schema["task"]
    if (task, champion.schema.get("classes")) != (challenger.schema["task"], challenger.schema.get("classes")):
        raise BundleError("Champion and challenger predict different targets; no row can be scored for both.")
    predicted = [predict_rows(model, rows.path) for model in (champion, challenger)]
    truth = encode_target(champion, rows.target)
    kept = ~np.isnan(truth) & ~np.isnan(predicted[0]).any(axis=1) & ~np.isnan(predicted[1]).any(axis=1)
    y_true = truth[kept] if task == "regression" else truth[kept].astype(int)
    old, new = (one[kept] if task == "multiclass" else one[kept, 0] for one in predicted)
    stated = reference.get("performance")
    scale = stated["loss"]["scale"] if stated else loss_scale(task, y_true, old) if len(y_true) else 1.0
    gain = row_loss(task, y_true, old, scale) - row_loss(task, y_true, new, scale)
    times = rows.times[kept].reset_index(drop=True)
    return compare_losses(
        unit_losses(gain, times),
        unit_losses(largest_difference(task, old, new, scale), times),
        metric=METRICS[task],
        rows=len(y_true),
    )


def replay_canary(champion: LoadedModel | None, challenger: LoadedModel, path: Path) -> str:
    """Return what is wrong with a new model's predictions of the newest rows; empty where nothing is."""
    new = predict_rows(challenger, path)
    refused = np.isnan(new).any(axis=1)
    known = np.isnan(predict_rows(champion, path)).any(axis=1) if champion else np.zeros(len(new), dtype=bool)
    if refused.mean() > known.mean() + MORE_REFUSED:
        both = f"{int(refused.sum()):,} of the {count_of(len(new), 'newest row')}, the champion {int(known.sum()):,}"
        return f"It refuses {both}."
    answered = new[~refused]
    if challenger.schema["task"] != "regression" and ((answered < 0) | (answered > 1)).any():
        return "It gives probabilities outside of 0 to 1."
    if len(answered) > 1 and champion is not None and np.ptp(answered, axis=0).max() == 0:
        return "It gives the same prediction for all of the newest rows."
    return ""
