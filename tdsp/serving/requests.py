"""The body of a request as rows for the model, or one message for each cell that does not fit."""

# The formats are those of MLflow's `/invocations`. Cells that are plainly what the schema wants become tensors at once;
# all else goes through the loader's own check, so that its judgment and its words are those of batch and training.

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tdsp.core.cells import CellReading, known_text, parse_date
from tdsp.core.errors import DataError
from tdsp.core.schema import ColumnSpec, Schema
from tdsp.data.schema import TIME_PARTS
from tdsp.packaging.loader import (
    MAX_NAMES_COMPARED,
    MISSING,
    Problem,
    SchemaError,
    as_features,
    cell_reading,
    contract_limits,
    frame_notes,
    input_columns,
    known_levels,
    read_column,
    training_range,
)
from tdsp.packaging.onnx.export import tensors_of
from tdsp.packaging.onnx.graph import input_names

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
Json: TypeAlias = Any  # from a client: of any type until it was checked
Columns = dict[str, Sequence[Json]]  # cells by column, all of one length


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """A column of a request that does not fit; `row` counts from 1, None where the whole column is meant."""

    column: str
    found: str
    expected: str
    closest: str = ""
    row: int | None = None


class BadRequest(ValueError):
    """A request that cannot be processed; `fields` names each part that does not fit."""

    def __init__(self, message: str, fields: Sequence[FieldProblem] = (), status: int = 400) -> None:
        super().__init__(message)
        self.fields, self.status = list(fields), status


@dataclass(frozen=True, slots=True)
class RequestRows:
    """The rows of a request."""

    count: int
    tensors: dict[str, np.ndarray]  # inputs of the ONNX graph
    floats: np.ndarray  # the columns of type float, in the schema's order: (n_columns, count)
    raw_columns: Columns  # all other columns of the schema, as they were sent
    warnings: list[str]
    keys: Sequence[str | None] | None  # what the sender calls each row, where a key column was agreed


# from bytes to columns ----------------------------------------------------------------------------------------------
def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value; send null for a missing number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_json(body: bytes) -> dict[str, Json]:
    """The JSON object of a body. Raises BadRequest."""
    try:
        document = _DECODER.decode(body.decode())
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise BadRequest(f"The body must be a JSON object with one of: {', '.join(FORMATS)}.")
    return document


def columns_of(document: Mapping[str, Json], names: Sequence[str]) -> Columns:
    """The cells by column, from any of MLflow's formats. Raises BadRequest."""
    found = [name for name in FORMATS if name in document]
    if len(found) != 1:
        holds = f"has {' and '.join(found)}" if found else f"has none of them, but {_listed(list(document))}"
        raise BadRequest(f"The body must hold exactly one of {', '.join(FORMATS)}; it {holds}.")
    if params := document.get("params"):
        names = list(params) if isinstance(params, dict) else [params]
        raise BadRequest(f"This model takes no params; remove {_listed(names)}.")
    value = document[found[0]]
    if found[0] == "dataframe_split":
        return _split(value)
    if found[0] == "inputs" and isinstance(value, dict):
        return _by_column(value)
    return _by_row(found[0], value, names)


def _listed(names: Sequence[Json]) -> str:
    """A few names, each cut to a readable length."""
    return ", ".join(repr(name)[:60] for name in names[:5]) + (" …" if len(names) > 5 else "") if names else "nothing"


def _split(value: Json) -> Columns:
    """Column names once, then a list of cells for each row."""
    if not isinstance(value, dict) or not {"columns", "data"} <= value.keys() <= {"columns", "data", "index"}:
        raise BadRequest("dataframe_split must be an object with `columns` and `data`, and `index` if you like.")
    names, data = value["columns"], value["data"]
    if not isinstance(names, list) or not set(map(type, names)) <= {str}:
        raise BadRequest("dataframe_split: `columns` must be a list of texts.")
    if len(set(names)) < len(names):
        ((doubled, times),) = Counter(names).most_common(1)
        raise BadRequest(f"dataframe_split: column {doubled[:60]!r} is there {times} times.")
    return _positional("dataframe_split", data, names)


def _positional(what: str, data: Json, names: Sequence[str]) -> Columns:
    """Rows of cells in the order of the names."""
    if not isinstance(data, list) or not set(map(type, data)) <= {list}:
        raise BadRequest(f"{what}: the rows must be a list of lists.")
    if not set(map(len, data)) <= {len(names)}:
        odd = next(i for i, row in enumerate(data) if len(row) != len(names))
        raise BadRequest(f"{what}: row {odd + 1} has {len(data[odd])} cells, expected {len(names)}.")
    return dict(zip(names, zip(*data, strict=True) if data else [()] * len(names), strict=True))


def _by_column(value: Mapping[str, Json]) -> Columns:
    """A list of cells for each column."""
    lengths = {len(cells) if isinstance(cells, list) else -1 for cells in value.values()}
    if len(lengths) > 1 or -1 in lengths:
        raise BadRequest("inputs: each column must be a list, and all of one length.")
    return dict(value)


def _by_row(what: str, value: Json, names: Sequence[str]) -> Columns:
    """An object or a list of cells for each row; a cell that an object lacks is missing."""
    if not isinstance(value, list):
        raise BadRequest(f"{what} must be a list of rows.")
    if not all(isinstance(row, dict) for row in value):
        if what == "dataframe_records" or any(isinstance(row, dict) for row in value):
            raise BadRequest(f"{what}: each row must be an object with a value for each column.")
        return _positional(what, value, names)
    wanted = dict.fromkeys([*names, *(value[0] if value else ())])
    return {name: [row.get(name) for row in value] for name in wanted if any(name in row for row in value)}


# from columns to tensors --------------------------------------------------------------------------------------------
_EPOCH, _DAY = datetime(1970, 1, 1), timedelta(days=1)
_NOTHING = type(None)
_ABSENT = (...,)  # the cells of a column that is not there: of no type that is plain
_PLAIN: dict[str, frozenset[type]] = {
    "float": frozenset({int, float, _NOTHING}),
    "boolean": frozenset({bool, _NOTHING}),
    "string": frozenset({str, _NOTHING}),
    "timestamp": frozenset({datetime, _NOTHING}),
}


def parse_timestamp(cell: Json, reading: CellReading) -> Json:
    """A time in UTC without its zone; a gap as None; anything that is no such time as it is."""
    text = known_text(cell, reading) if isinstance(cell, str) else cell
    if not isinstance(text, str):
        return text
    found = parse_date(text, reading)
    return cell if found is None else found


def _text_cell(cell: Json, reading: CellReading) -> Json:
    """A text as training read it; a gap as None; anything that is no text as it is."""
    return known_text(cell, reading) if isinstance(cell, str) else cell


def _time_parts(cell: datetime | None, end: datetime | None) -> tuple[float, ...]:
    """The loader's parts of a time, in the order of TIME_PARTS; its age counts up to `end`."""
    if cell is None:
        return (np.nan,) * len(TIME_PARTS)
    age = np.nan if end is None else (end.replace(microsecond=0) - cell.replace(microsecond=0)) / _DAY
    return (cell - _EPOCH).days, cell.year, cell.month, cell.weekday(), cell.hour + cell.minute / 60, age


class Reader:
    """Reads requests for one schema; what can be known beforehand is."""

    def __init__(self, schema: Schema, key: str = "") -> None:
        specs = input_columns(schema)
        self.schema, self.key = schema, key
        self.names = [spec["name"] for spec in specs]
        self._known = frozenset(self.names) | {key}
        self._readings = {spec["name"]: cell_reading(spec, schema) for spec in specs}
        self._of = {kind: [s["name"] for s in specs if s["type"] == kind] for kind in _PLAIN}
        self._present = [kind for kind, names in self._of.items() if names]
        self._filled = {spec["name"] for spec in specs if not spec.get("nullable", True)}  # a gap in these is refused
        self._filled_floats = [i for i, name in enumerate(self._of["float"]) if name in self._filled]
        self._levels = {spec["name"]: levels for spec in specs if (levels := known_levels(spec))}
        self._closed = {spec["name"] for spec in specs if spec.get("closed")}
        floats = [spec for spec in specs if spec["type"] == "float"]
        codes = [self._readings[spec["name"]].get("codes", ()) for spec in floats]
        self._codes = [(i, found) for i, found in enumerate(codes) if found]
        self._training_range = [_column_of(ends) for ends in zip(*map(training_range, floats), strict=True)]
        self._limits = [_column_of(ends) for ends in zip(*map(_number_limits, floats), strict=True)]
        times = [spec for spec in specs if spec["type"] == "timestamp"]
        self._windows = [(i, *_window(spec)) for i, spec in enumerate(times) if contract_limits(spec)]
        numbers = input_names(schema).get("numbers", [])
        parts = [[name] for name in (*self._of["float"], *self._of["boolean"])]
        parts += [[f"{name}.{part}" for part in TIME_PARTS] for name in self._of["timestamp"]]
        self._end = len(times) - 1 if "time_column" in schema else None  # place of the time column among the times
        self._order = [[part for group in parts for part in group].index(name) for name in numbers]

    def read_json(self, body: bytes) -> RequestRows:
        """The rows of a JSON body. Raises BadRequest."""
        return self.read(columns_of(parse_json(body), self.names))

    def read_csv(self, body: bytes) -> RequestRows:
        """The rows of a CSV body, typed as training typed them. Raises BadRequest."""
        from tdsp.data import csv_reader
        from tdsp.serving.batch import read_options, text_frame

        try:
            cells = csv_reader.read_cells(body, "the body", reading=read_options(self.schema)).table
        except DataError as error:
            raise BadRequest(str(error)) from None
        frame = text_frame(cells, self.schema)
        keys = cells[self.key].to_pylist() if self.key in cells.column_names else None
        return self._checked({str(name): frame[name] for name in frame}, cells.column_names, keys)

    def read(self, columns: Columns) -> RequestRows:
        """The rows of cells by column. Raises BadRequest."""
        texts = [name for name in self._of["string"] if name in columns]
        _require_unicode(columns, texts)
        for kind, read_cell in (("timestamp", parse_timestamp), ("string", _text_cell)):
            own = [name for name in self._of[kind] if name in columns]
            columns = columns | {
                name: [read_cell(cell, self._readings[name]) for cell in columns[name]] for name in own
            }
        if rows := self._plain(columns):
            return rows
        sent = {name: pd.Series(list(columns[name]), dtype=object) for name in self.names if name in columns}
        return self._checked(sent, list(columns), columns.get(self.key))

    def _plain(self, columns: Columns) -> RequestRows | None:
        """The rows where each cell is of its column's type; None where the loader has to look."""
        blocks = {}
        for kind in self._present:
            blocks[kind] = [columns.get(name, _ABSENT) for name in self._of[kind]]
            found = set(map(type, chain.from_iterable(blocks[kind])))
            if not found <= _PLAIN[kind] or (_NOTHING in found and self._has_gap(blocks[kind], self._of[kind])):
                return None
        count = len(columns[self.names[0]])
        try:
            floats = np.array(blocks.get("float", ()), dtype="float64").reshape(-1, count)
        except (OverflowError, ValueError):
            return None
        for position, codes in self._codes:
            floats[position][np.isin(floats[position], codes)] = np.nan
        if self._codes and np.isnan(floats[self._filled_floats]).any():
            return None
        beyond = _outside(floats, self._training_range)
        if not count or np.isinf(floats).any() or self._break_limits(floats, blocks.get("timestamp", ())):
            return None
        unknown = {name: n for name in self._levels if (n := self._unknown(name, columns[name]))}
        if unknown.keys() & self._closed:
            return None
        rows_beyond = zip(self._of["float"], beyond.sum(axis=1).tolist(), strict=True) if beyond.any() else ()
        warnings = self._warn(columns.keys(), unknown, {name: n for name, n in rows_beyond if n})
        return RequestRows(
            count, self._tensors(floats, blocks), floats, columns, warnings, _keys(columns.get(self.key))
        )

    def _has_gap(self, cells: Sequence[Sequence[Json]], names: Sequence[str]) -> bool:
        """Whether one of the columns that are never empty has a gap."""
        return any(None in column for name, column in zip(names, cells, strict=True) if name in self._filled)

    def _tensors(self, floats: np.ndarray, blocks: Mapping[str, Sequence[Sequence[Json]]]) -> dict[str, np.ndarray]:
        """The graph's inputs from columns of plain cells."""
        tensors, parts = {}, [floats]
        if "boolean" in blocks:
            parts.append(np.array(blocks["boolean"], dtype="float64"))
        times = blocks.get("timestamp", ())
        ends = [None] * floats.shape[1] if self._end is None else times[self._end]
        parts += [np.array([*map(_time_parts, cells, ends)]).T for cells in times]
        if self._order:
            numbers = floats if len(parts) == 1 else np.concatenate(parts)[self._order]
            tensors["numbers"] = np.ascontiguousarray(numbers.T)
        if "string" in blocks:
            filled = [[MISSING if cell is None else cell for cell in column] for column in blocks["string"]]
            tensors["texts"] = np.array(filled, dtype=object).T
        return tensors

    def _unknown(self, name: str, cells: Sequence[Json]) -> int:
        """The number of cells with a level that training never saw."""
        levels = self._levels[name]
        return sum(cell is not None and cell not in levels for cell in cells)

    def _break_limits(self, floats: np.ndarray, times: Sequence[Sequence[Json]]) -> bool:
        """Whether a number or a date is beyond the contract; the loader names it."""
        if _outside(floats, self._limits).any():
            return True
        return any(cell and not low <= cell <= high for i, low, high in self._windows for cell in times[i])

    def _warn(self, columns: Set[str], unknown: Mapping[str, int], ranges: Mapping[str, int]) -> list[str]:
        """Warnings about what is unusual but no error."""
        extra = sorted(columns - self._known)
        found = [f"{name}: {n} with a level the model has never seen" for name, n in unknown.items()]
        found += [f"{name}: {n} outside the range the model has seen" for name, n in ranges.items()]
        return found + ([f"not used by the model: {_listed(extra)}"] if extra else [])

    def _typed(self, values: pd.Series, spec: ColumnSpec) -> pd.Series:
        """The column in its type; as it was sent where a cell is none of it, so that the loader names that cell."""
        typed, odd = read_column(values, spec, self.schema)
        return values if odd.any() else typed

    def _checked(self, own: Mapping[str, pd.Series], names: Sequence[str], keys: Sequence[Json] | None) -> RequestRows:
        """The rows as the loader sees them, with its words where they do not fit; `names` are all that were sent."""
        unknown = [name for name in names if name not in self._known][:MAX_NAMES_COMPARED]
        index = next(iter(own.values())).index if own else range(1)
        specs = {spec["name"]: spec for spec in input_columns(self.schema)}
        columns = {name: self._typed(values, specs[name]) for name, values in own.items()}
        frame = pd.DataFrame(columns | dict.fromkeys(unknown), index)  # these only to find the name that was meant
        try:
            features = as_features(frame, self.schema)
        except RecursionError:
            raise BadRequest("The body is nested too deeply.") from None
        except SchemaError as error:
            raise BadRequest(f"The rows do not fit the model: {error}.", list(map(_field, error.problems))) from None
        notes = frame_notes(frame, self.schema)
        raw_columns: Columns = {
            name: _raw_cells(frame[name], kind) for kind, names in self._of.items() for name in names if kind != "float"
        }
        floats = features[self._of["float"]].to_numpy(dtype="float64").T
        warnings = self._warn(set(names), notes["unknown_levels"], notes["out_of_range"])
        return RequestRows(len(frame), tensors_of(features, self.schema), floats, raw_columns, warnings, _keys(keys))


def _keys(cells: Sequence[Json] | None) -> list[str | None] | None:
    """The sender's names of the rows as texts that any file can hold; None for what is no name."""
    if cells is None:
        return None
    texts = [str(cell) if isinstance(cell, (str, int, float)) else None for cell in cells]
    return [text and text[:200].encode(errors="replace").decode() for text in texts]


def _field(problem: Problem) -> FieldProblem:
    """One difference for a machine."""
    row = None if problem.row is None else problem.row + 1
    return FieldProblem(problem.column, problem.found, problem.expected, problem.closest, row)


def _column_of(ends: Sequence[float]) -> np.ndarray:
    """Ends of ranges as a column, one row for each column of the schema."""
    return np.array(ends, dtype="float64").reshape(-1, 1)


def _outside(floats: np.ndarray, ranges: Sequence[np.ndarray]) -> np.ndarray:
    """A mask of the numbers below or above the range of their column."""
    return (floats < ranges[0]) | (floats > ranges[1]) if ranges else np.zeros(floats.shape, bool)


def _number_limits(spec: ColumnSpec) -> tuple[float, float]:
    """The smallest and the largest number that the contract allows."""
    limits = contract_limits(spec)
    return float(limits.get("minimum", -np.inf)), float(limits.get("maximum", np.inf))


def _window(spec: ColumnSpec) -> tuple[datetime, datetime]:
    """The first and the last point in time that the contract allows."""
    limits = contract_limits(spec)
    ends = (limits.get("minimum", datetime.min.isoformat()), limits.get("maximum", datetime.max.isoformat()))
    return datetime.fromisoformat(ends[0]), datetime.fromisoformat(ends[1])


def _require_unicode(columns: Columns, names: Sequence[str]) -> None:
    """Raise BadRequest for a text with half of a surrogate pair, which no file and no runtime can hold."""
    for name in names:
        try:
            "".join(cell for cell in columns[name] if isinstance(cell, str)).encode()
        except UnicodeEncodeError:
            field = FieldProblem(name, "a text with half of a character", "valid Unicode")
            raise BadRequest(f"column {name!r}: a text is not valid Unicode.", [field]) from None


def _raw_cells(values: pd.Series, kind: str) -> list[Json]:
    """A column's cells for the log, gaps as None."""
    if kind == "timestamp":
        values = pd.to_datetime(values, utc=True).dt.tz_localize(None)
    return values.astype(object).where(values.notna(), None).tolist()


READERS: dict[str, Callable[[Reader, bytes], RequestRows]] = {
    "application/json": Reader.read_json,
    "text/csv": Reader.read_csv,
}
