"""Never, scheduled, on alarm, always and by cost: the policies of retraining, replayed on real streams.

python -m tests.benchmarks.replay [flights|electricity|bike ...] [--replay month|week|day] [--cost ROWS]

Electricity has no date in its file: the rows are half hours from 7 May 1996 on, in their order.
"""

import argparse
import sys
from pathlib import Path
from tempfile import gettempdir

import pandas as pd

from tdsp.core.files import canonical_json, write_atomic
from tdsp.modeling.fitting import default_candidate
from tdsp.reporting.replay_page import policies_table
from tdsp.stages.replay import replay_past, result_record
from tdsp.stages.replayed_models import ReplaySettings, open_past
from tests.support.streams import Stream, streams

VALUES = {
    "time_column": "time", "task": "auto", "positive_class": "", "metric": "auto", "drop": [], "forbidden": [],
    "group_column": "", "split_column": "", "split": "time", "random_state": 2013, "costs": {},
}  # fmt: skip


def table_of(stream: Stream) -> pd.DataFrame:
    """Return the rows of a stream with their time."""
    half_hours = pd.Series(pd.date_range("1996-05-07", periods=len(stream.frame), freq="30min"))
    return stream.frame.assign(time=half_hours if stream.time is None else stream.time)


def replay(stream: Stream, settings: ReplaySettings) -> None:
    """Print the policies of a stream and keep replay.json beside the temporary files."""
    values = {**VALUES, "target": stream.target}
    past = open_past(table_of(stream), values, settings)
    recipe = default_candidate("lightgbm"), "LightGBM with its usual settings"
    result = replay_past(stream.name, past, values, recipe, settings, lambda line: print(line, file=sys.stderr))
    path = Path(gettempdir()) / f"replay-{stream.name}-{settings.size}.json"
    write_atomic(path, canonical_json(result_record(result)))
    print(f"\n## {stream.name}, by the {settings.size}, from {result.first} on: {result.rows:,} rows")
    print(policies_table(result).to_string(index=False))
    print(f"Cheapest from a cost on: {', '.join(f'{at:,.0f} {policy}' for at, policy in result.cheapest)}")
    for alarm in result.alarms:
        print(f"Alarm on the model of {alarm.model}, known {alarm.known}: {alarm.code}, {alarm.text}; "
              f"trained {alarm.trained or 'nothing'}")  # fmt: skip
    for one in result.aged:
        print(
            f"Age {one.age}: {one.loss:.4f}, {one.excess.value:+.4f} ({one.excess.low:+.4f} to {one.excess.high:+.4f})"
        )
    print(f"{result.monitor} {result.monitor_cpu_seconds:.0f} CPU s of monitoring.\n{result.recommendation}\n{path}")


def main() -> None:
    """Replay the streams that are named, or all three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["flights", "electricity", "bike"])
    parser.add_argument("--replay", default="month")
    parser.add_argument("--cost", type=float)
    given = parser.parse_args()
    for stream in streams(*given.names):
        replay(stream, ReplaySettings(given.replay, cost=given.cost))


if __name__ == "__main__":
    main()
