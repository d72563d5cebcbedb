"""The reader on texts whose values are known: right, wrong with a remark, refused, or silently wrong.

    python -m tests.benchmarks.reading [KIND …]

The inputs are those of `cases/reading` beside the clone (left out where it is not there) and variants that are made
here: separators, decimal signs, encodings, orders of dates, names of months, currencies, units, layouts. An input is
`right` where every value is the true one, `said` where one is not but a remark names its column or the file, `refused`
where the reader raises DataError, else `SILENTLY WRONG`. What was read is read again cell by cell, by the stored
reading alone, as a request would; a difference there is silently wrong too.
"""

import csv
import io
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tdsp.core.cells import parse_cells
from tdsp.core.errors import DataError
from tdsp.data.cell_types import ReadOptions, readings_of
from tdsp.data.csv_reader import read_cells
from tdsp.data.ingest import load_source, to_frame
from tdsp.data.schema import infer_schema
from tdsp.packaging.loader import read_column

CASES = Path(__file__).parents[3] / "shared" / "cases" / "reading"
OUTCOMES = ("right", "said", "refused", "SILENTLY WRONG")


@dataclass(frozen=True)
class Input:
    """A file, the true values of its columns, and the column that has to be in it."""

    kind: str
    name: str
    file: str  # its name, whose suffix tells the format
    data: bytes
    truth: dict[str, list[Any]]
    target: str = "y"
    train: bytes = b""  # a file whose reading counts; empty: the file's own


def outcome(entry: Input) -> tuple[str, str]:
    """One of OUTCOMES, and what was found."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / entry.file).write_bytes(entry.train or entry.data)
        try:
            options = ReadOptions(target=entry.target)
            source = load_source("t", entry.file, root=folder, reading=options)
            frame, table = to_frame(source.table), source.table
            if entry.train:
                frame = by_reading_of(table, frame, entry)
        except DataError as error:
            return "refused", str(error)
    wrong = [name for name, values in entry.truth.items() if name not in frame or not equal(frame[name], values)]
    named = {remark.column for remark in source.remarks if remark.code != "layout"}
    silent = [name for name in wrong if name not in named and "" not in named]
    if not entry.train and not silent:
        silent = [f"{name}, cell by cell" for name in alone_differs(table, frame)]
    if silent or wrong:
        return OUTCOMES[3] if silent else "said", ", ".join(silent or wrong)
    return "right", ""


def by_reading_of(table: Any, frame: pd.DataFrame, entry: Input) -> pd.DataFrame:
    """The cells of the entry by the reading of the training table; a cell that fits none is a gap."""
    schema = infer_schema(
        frame.drop(columns=entry.target, errors="ignore"), target="", task="binary", readings=readings_of(table.schema)
    )
    if entry.data[:4] == b"PAR1":
        cells = pd.read_parquet(io.BytesIO(entry.data)).rename(columns=str.strip)
    else:
        cells = read_cells(entry.data, entry.file).table.to_pandas()
    return pd.DataFrame({spec["name"]: read_column(cells[spec["name"]], spec, schema)[0] for spec in schema["columns"]})


def equal(found: pd.Series, values: list[Any]) -> bool:
    """Whether two columns hold the same, gaps in the same places; numbers up to rounding."""
    if len(found) != len(values):
        return False
    true = pd.Series(values, dtype=object)
    gaps = true.isna().to_numpy()
    if not (found.isna().to_numpy() == gaps).all():
        return False
    mine, true = found[~gaps], true[~gaps]
    if all(isinstance(value, str) for value in true):
        return [*mine.astype(object)] == [*true]
    if all(isinstance(value, date) for value in true):
        is_moment = pd.api.types.is_datetime64_any_dtype(mine)
        return is_moment and bool((mine.to_numpy() == pd.to_datetime(true).to_numpy()).all())
    if not pd.api.types.is_numeric_dtype(mine):
        return False
    if max(map(abs, true), default=0) >= 2**53:
        return [*map(int, mine)] == [*map(int, true)]
    return np.allclose(mine.astype(float), true.astype(float), rtol=1e-9, atol=0)


def alone_differs(table: Any, frame: pd.DataFrame) -> list[str]:
    """Columns in which a value, written as text in its reading's plainest way, is another one alone."""
    found = []
    for name, reading in readings_of(table.schema).items():
        if name in frame and reading["kind"] == "number":
            texts = [None if pd.isna(v) else f"{v:.12g}".replace(".", reading.get("decimal", ".")) for v in frame[name]]
            again = [parse_cells([text], reading)[0].iloc[0] for text in texts[:5]]
            found += [] if np.allclose(again, frame[name].head(5).astype(float), equal_nan=True) else [name]
    return found


# Made here: 60 rows whose values are known.
ROWS = 60
RNG = np.random.default_rng(16)
AMOUNT = [float(v) for v in np.round(RNG.lognormal(8, 1.2, ROWS), 2)]
COUNT = [int(v) for v in RNG.integers(1, 90, ROWS)]
DAYS = [date(2021, 1, 1) + timedelta(days=int(d)) for d in RNG.integers(0, 900, ROWS)]
Y = ["yes" if v else "no" for v in RNG.random(ROWS) < 0.4]
BASE: dict[str, list[Any]] = {"count": COUNT, "y": Y}


def text_of(columns: dict[str, list[Any]], separator: str = ",", **options: Any) -> str:
    """The table as a text."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, lineterminator=options.pop("end", "\n"), **options)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue()


def column(kind: str, name: str, texts: list[str], values: list[Any], called: str = "x", **more: Any) -> Input:
    """A file with this column beside two others."""
    others = more.pop("others", {})
    text = text_of({called: texts, **{n: t for n, (t, _) in others.items()}, **BASE}, **more)
    truth = {called: values, **{n: v for n, (_, v) in others.items()}, **BASE}
    return Input(kind, name, "made.csv", text.encode(), truth)


def grouped(value: float, decimal: str, thousands: str, places: int = 2) -> str:
    """A number with these signs."""
    return f"{value:,.{places}f}".replace(",", "T").replace(".", decimal).replace("T", thousands)


def made_numbers() -> Iterator[Input]:
    for separator, (decimal, thousands) in itertools.product(
        ",;\t|",
        ((".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (",", "\u00a0"), (".", "'"), (",", "\u202f")),
    ):
        name = f"{separator!r} {decimal}{thousands!r}"
        texts = [grouped(v, decimal, thousands) for v in AMOUNT]
        yield column("separators and signs of numbers", name, texts, AMOUNT, separator=separator)
    for mark in (
        "€{}",
        "{} €",
        "${}",
        "£{}",
        "{} EUR",
        "₹{}",
        "Rs. {}",
        "{} zł",
        "{}+",
        "{}*",
        "~{}",
        "about {}",
        "USD {}",
    ):
        yield column("currencies and marks", mark, [mark.format(f"{v:,.2f}") for v in AMOUNT], AMOUNT)
    for unit in ("kg", "km", " mm", " kWh", "%", " m²", " sq ft", " days", " cc", "°C"):
        yield column("units", unit, [f"{v:.1f}{unit}" for v in AMOUNT], [round(v, 1) for v in AMOUNT])
    for unit, factor in (("k", 1e3), ("M", 1e6), (" Lakh", 1e5), (" Crore", 1e7), (" million", 1e6), (" Mio", 1e6)):
        mixed = [f"{c / 10:g}{unit}" if i % 3 else f"{c}" for i, c in enumerate(COUNT)]
        yield column("magnitudes", unit, mixed, [c / 10 * factor if i % 3 else c for i, c in enumerate(COUNT)])
    for a, b, factor in (("kB", "MB", 1e3), ("m", "km", 1e3), ("g", "kg", 1e3), ("sq m", "sq ft", 0.09290304)):
        two = [f"{v:.1f} {a if i % 2 else b}" for i, v in enumerate(AMOUNT)]
        values = [round(v, 1) * (1 if i % 2 else factor) * (1e3 if a == "kB" else 1) for i, v in enumerate(AMOUNT)]
        yield column("two units", f"{a}, {b}", two, values)
    euros = [f"{v:.2f} {'EUR' if i % 2 else 'USD'}" for i, v in enumerate(AMOUNT)]
    yield column("two units", "two currencies", euros, euros)
    for form in ("-{}", "−{}", "{}-", "({})", "– {}", "$-{}", "-${}", "(${})"):
        signed = [-v if i % 4 == 0 else v for i, v in enumerate(AMOUNT)]
        mark = "${}" if "$" in form else "{}"
        yield column(
            "negative numbers", form, [(form if v < 0 else mark).format(f"{abs(v):.2f}") for v in signed], signed
        )
    for word in ("unknown", "-", "n.a.", "#DIV/0!", "None", "NaN", "missing", "keine Angabe", "NULL", ".", "?"):
        gaps = [None if i % 10 == 3 else v for i, v in enumerate(AMOUNT)]
        yield column("words among numbers", word, [word if v is None else f"{v}" for v in gaps], gaps)
    for damage in ("12,,5", "3.4.5", "7 1/2 approx 8", "1O0"):
        damaged = [None if i == 7 else v for i, v in enumerate(AMOUNT * 3)]
        texts = [damage if v is None else f"{v}" for v in damaged]
        body = text_of({"x": texts, "y": Y * 3})
        yield Input("one damaged cell", damage, "made.csv", body.encode(), {"x": damaged, "y": Y * 3})
    half = [c / 100 for c in COUNT]
    yield column(
        "percent", "beside fractions", [f"{c}%" if i % 2 else f"{h}" for i, (c, h) in enumerate(zip(COUNT, half))], half
    )
    yield column("percent", "all", [f"{c} %" for c in COUNT], COUNT)
    small = [round(v / 1e5, 3) for v in AMOUNT]
    yield column("decimals of three digits", "dot", [f"{v:.3f}" for v in small], small)
    yield column(
        "decimals of three digits", "comma", [f"{v:.3f}".replace(".", ",") for v in small], small, separator=";"
    )
    tiny = [v * 1e-9 for v in AMOUNT]
    yield column("exponents", "dot", [f"{v:.6e}" for v in tiny], [float(f"{v:.6e}") for v in tiny])
    yield column(
        "exponents",
        "comma",
        [f"{v:.6e}".replace(".", ",") for v in tiny],
        [float(f"{v:.6e}") for v in tiny],
        separator=";",
    )


MONTHS = {
    "English": "January February March April May June July August September October November December",
    "German": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "French": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "Spanish": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "Italian": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "Portuguese": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "Dutch": "januari februari maart april mei juni juli augustus september oktober november december",
    "Polish": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
}


def made_dates() -> Iterator[Input]:
    for form in (
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d.%m.%Y",
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%d-%m-%Y",
        "%Y%m%d",
        "%d/%m/%y",
        "%d.%m.%y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%b %d, %Y",
        "%A, %d %B %Y",
        "%B %d %Y",
        "%Y-%m-%dT00:00:00Z",
        "%d/%m/%Y 00:00",
        "%m/%d/%Y 12:00:00 AM",
        "%Y-%m-%d 00:00:00.000",
        "%d %b %Y",
        "%d %B, %Y",
    ):
        yield column("orders of dates", form, [d.strftime(form) for d in DAYS], DAYS, "day")
    for language, names in MONTHS.items():
        for form in ("{d} {m} {y}", "{d}. {m} {y}"):
            texts = [form.format(d=d.day, m=names.split()[d.month - 1], y=d.year) for d in DAYS]
            yield column("names of months", f"{language} {form}", texts, DAYS, "day")
    early = [d.replace(day=d.day % 12 + 1) for d in DAYS]
    for form in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y"):
        yield column("dates that do not tell", f"{form} alone", [d.strftime(form) for d in early], early, "day")
        beside = {"signed": ([d.strftime(form) for d in DAYS], DAYS)}
        yield column(
            "dates that do not tell", f"{form} beside", [d.strftime(form) for d in early], early, "day", others=beside
        )
    born = [d.replace(year=d.year - 60) for d in DAYS]
    yield column("births", "%d/%m/%y", [d.strftime("%d/%m/%y") for d in born], born, "birth")
    for word in ("0000-00-00", "unknown", "", "n/a"):
        gaps = [None if i % 12 == 3 else d for i, d in enumerate(DAYS)]
        yield column("words among dates", word, [word if d is None else f"{d}" for d in gaps], gaps, "day")
    mixed = [f"{d}" if i % 3 else d.strftime("%d/%m/%Y") for i, d in enumerate(DAYS)]
    yield column("two ways of dates", "ISO and d/m/Y", mixed, DAYS, "day")
    seconds = [c * 60 + 3600 * (c % 24) for c in COUNT]
    yield column("times", "h:mm", [f"{s // 3600}:{s // 60 % 60:02d}" for s in seconds], seconds)
    yield column("times", "h:mm:ss", [f"{s // 3600}:{s // 60 % 60:02d}:{s % 60:02d}" for s in seconds], seconds)
    yield column("months and quarters", "2023-05", [f"{d:%Y-%m}" for d in DAYS], [d.replace(day=1) for d in DAYS], "m")
    quarter = [d.replace(month=3 * ((d.month - 1) // 3) + 1, day=1) for d in DAYS]
    yield column("months and quarters", "2023Q2", [f"{d.year}Q{(d.month + 2) // 3}" for d in DAYS], quarter, "q")


def made_texts() -> Iterator[Input]:
    codes = {
        "leading zero": [f"{c:05d}" for c in COUNT],
        "hexadecimal": [f"0x{c * 7919:06X}" for c in COUNT],
        "phone": [f"+49179{c * 104729:07d}" for c in COUNT],
        "16 digits": [f"{4_000_000_000_000_000 + c}" for c in COUNT],
        "versions": [f"{c % 30 + 1}.{c % 9}.{c % 19}" for c in COUNT],
        "postal": [f"2000{c % 10}-{c:04d}" for c in COUNT],
        "address": [f"192.168.{c}.{c % 7}" for c in COUNT],
        "category": [f"A{c % 9}" for c in COUNT],
        "ISBN": [f"978-3-16-{c:06d}-0" for c in COUNT],
        "score": [f"{c % 7}:{c % 5}x" for c in COUNT],
        "range": [f"{c}-{c + 9}" for c in COUNT],
    }
    for name, texts in codes.items():
        yield column("codes are texts", name, texts, texts)
    countries = [("ZA", "NA", "BW", "ZM")[c % 4] for c in COUNT]
    yield column("NA among codes", "countries", countries, countries)
    regions = [("EU", "APAC", "NA", "LATAM")[c % 4] for c in COUNT]
    yield column("NA among codes", "regions", regions, regions)
    words = [("often", "NA", "never", "now and then")[c % 4] for c in COUNT]
    yield column("NA among words", "answers", words, [None if w == "NA" else w for w in words])
    truths = [bool(c % 2) for c in COUNT]
    yield column("true and false", "TRUE", [str(t).upper() for t in truths], truths)
    languages = {
        "utf-8": "Zürich Łódź Σίσυφος Москва",
        "utf-8-sig": "Zürich Genève Köln Málaga",
        "utf-16": "Zürich Genève Köln Łódź",
        "cp1252": "Zürich Köln Düsseldorf Münster",
        "latin-1": "Genève Orléans Besançon Nîmes",
        "cp1250": "Łódź Kraków Poznań Gdańsk",
        "iso8859_2": "Łódź Świnoujście Gdańsk Zabłudów",
        "cp1251": "Москва Казань Самара Тверь",
        "koi8_r": "Москва Казань Самара Тверь",
        "cp1253": "Αθήνα Πάτρα Βόλος Λάρισα",
        "cp1254": "İstanbul Iğdır Muş Ağrı",
        "gb18030": "北京市 上海市 广州市 深圳市",
        "cp932": "東京都 大阪府 ひろしま カナガワ",
        "cp949": "서울특별시 부산광역시 대구광역시 인천광역시",
        "cp1255": "ירושלים חיפה באר אילת",
    }
    for encoding, names in languages.items():
        places = [names.split()[c % 4] for c in COUNT]
        text = text_of({"place": places, **BASE}, separator=";")
        yield Input("encodings", encoding, "made.csv", text.encode(encoding), {"place": places, **BASE})
    twice = ["Zürich", "Genève", "Köln", "Málaga"]
    broken = text_of({"place": [twice[c % 4].encode().decode("latin-1") for c in COUNT], **BASE})
    yield Input("encodings", "twice", "made.csv", broken.encode(), {"place": [twice[c % 4] for c in COUNT], **BASE})


def made_layouts() -> Iterator[Input]:
    truth = {"x": AMOUNT, **BASE}
    plain = text_of(truth)
    lines = plain.splitlines(keepends=True)
    total = f"{sum(AMOUNT):.2f}"
    layouts = {
        "CRLF": plain.replace("\n", "\r\n"),
        "CR": plain.replace("\n", "\r"),
        "no last line end": plain.rstrip("\n"),
        "comments": "# export\n# 2024-05-01\n" + plain,
        "titles": "Billing export,,\nas of,01.05.2024,\n\n" + plain,
        "empty lines": plain.replace("\n", "\n\n"),
        "all quoted": text_of(truth, quoting=csv.QUOTE_ALL),
        "blank after comma": plain.replace(",", ", "),
        "header again": "".join([*lines[:30], lines[0], *lines[30:]]),
        "total": plain + f"{total},{sum(COUNT)},Total\n",
        "separator at line ends": plain.replace("\n", ",\n"),
        "tags": lines[0] + "#value,#value,#class\n" + "".join(lines[1:]),
        "sep=": "sep=,\n" + plain,
        "empty rows below": plain + ",,\n" * 9,
        "semicolons": text_of(truth, separator=";"),
        "row wrapped": lines[0] + "".join(f'"{line.rstrip()}"\n' for line in lines[1:]),
    }
    for name, text in layouts.items():
        yield Input("layouts", name, "made.csv", text.encode(), truth)
    short = "".join(line.replace("\n", ",0\n") if i else line for i, line in enumerate(lines))
    yield Input("more values than names", "a value more", "made.csv", short.encode(), truth)
    doubled = plain.replace("x,count,y", "x,x,y", 1)
    yield Input("doubled names", "x, x", "made.csv", doubled.encode(), {"x": AMOUNT, "x_2": COUNT, "y": Y})
    yield Input("names", "padded", "made.csv", plain.replace("x,count,y", " x ,count , y", 1).encode(), truth)
    years = plain.replace("x,count,y", "2022,2023,y", 1)
    yield Input("names", "years", "made.csv", years.encode(), {"2022": AMOUNT, "2023": COUNT, "y": Y})
    grouped_names = "measure,,target\n" + plain.replace("x,count,y", "x,count,y", 1)
    yield Input("names", "two rows, one gap", "made.csv", grouped_names.encode(), {"y": Y})
    notes = [f'he said "no {c}", twice' for c in COUNT]
    escaped = plain.splitlines()
    body = [
        f'{line},"{note.replace(chr(34), chr(92) + chr(34))}"' for line, note in zip(escaped[1:], notes, strict=True)
    ]
    text = "\n".join(["x,count,y,note", *body])
    yield Input("quotes", "backslash", "made.csv", text.encode(), {"note": notes, **truth})
    yield Input("quotes", "doubled", "made.csv", text_of({**truth, "note": notes}).encode(), {"note": notes, **truth})
    lined = [f"first {c}\nsecond" for c in COUNT]
    yield Input(
        "quotes", "line breaks", "made.csv", text_of({**truth, "note": lined}).encode(), {"note": lined, **truth}
    )
    records = pd.DataFrame(truth)
    yield Input("formats", "JSON", "made.json", records.to_json(orient="records").encode(), truth)
    yield Input("formats", "JSON lines", "made.jsonl", records.to_json(orient="records", lines=True).encode(), truth)
    yield Input("formats", "Parquet", "made.parquet", records.to_parquet(), truth)
    large = [2**53 + 2 * c + 1 for c in COUNT]
    big = pd.DataFrame({"id": large, **BASE})
    yield Input(
        "formats", "large ids in JSON", "made.json", big.to_json(orient="records").encode(), {"id": large, **BASE}
    )


Cell = Callable[[str], Any]
CLOCK: Cell = lambda t: sum(int(part) * scale for part, scale in zip(t.split(":"), (3600, 60, 1), strict=False))  # noqa: E731
DMY: Cell = lambda t: date(int(t[6:]), int(t[3:5]), int(t[:2])) if "/" in t else date.fromisoformat(t)  # noqa: E731
COMMA: Cell = lambda t: float(t.replace(".", "").replace(",", "."))  # noqa: E731
US: Cell = lambda t: float(t.replace(",", "").split()[0])  # noqa: E731
COMPACT: Cell = lambda t: date(int(t[:4]), int(t[4:6]), int(t[6:]))  # noqa: E731
GERMAN = {name: i for i, name in enumerate(MONTHS["German"].split(), 1)}
SAME: Cell = str
BAD = ("soon", "n/k")  # the damaged cells of case 16


def unless_bad(cell: Cell) -> Cell:
    """The same rule, with a gap for a damaged cell."""
    return lambda text: None if text in BAD else cell(text)


ZOO: dict[str, Cell] = {
    "signed": COMPACT,
    "country": SAME,
    "store": SAME,
    "discount": lambda t: int(t[:-1]),
    "income": US,
}
# start of the path, how the raw text is cut, what each cell of these columns means; other columns as pandas reads them
TRUTHS: dict[str, tuple[dict[str, Any], dict[str, Cell]]] = {
    "01": ({}, {"signed": DMY}),
    "02/62": ({"skipinitialspace": True}, {}),
    "02/67c": ({"index_col": 0}, {}),
    "03": ({"sep": ";"}, {"debt": COMMA, "usage": COMMA}),
    "04/99b": ({"sep": ";"}, {"usage": COMMA, "km": float}),
    "04/b00": ({"sep": ";"}, {"weight_kg": lambda t: float(t.replace(",", "."))}),
    "06": ({}, {"signed": DMY, "last_visit": DMY}),
    "07": ({}, {"birth": lambda t: date((2000 if int(t[6:]) < 27 else 1900) + int(t[6:]), int(t[3:5]), int(t[:2]))}),
    "08": ({"sep": ";"}, {"income": COMMA}),
    "09": ({}, {"discount": lambda t: float(t[:-1]) / 100 if "%" in t else float(t)}),
    "10": ({"skipfooter": 1}, {}),
    "11/09": ({}, {"country": SAME}),
    "11/70": ({}, ZOO),
    "15": ({}, ZOO),
    "12": ({}, {"device": SAME, "phone": SAME}),
    "13": ({}, {"balance": lambda t: -float(t.strip("-−")) if set(t) & set("-−") else float(t)}),
    "16/50": ({}, {"signed": lambda t: None if t == "soon" else DMY(t)}),
    "16/70": ({}, ZOO | {"signed": unless_bad(COMPACT), "age": unless_bad(float)}),
    "17": ({}, {}),
    "18/23_": ({"skiprows": 2}, {}),
    "18/23b": ({"sep": ";", "skiprows": 3}, {}),
    "19/10": ({}, {"closed_on": lambda t: None if t in ("unknown", "0000-00-00") else date.fromisoformat(t)}),
    "19/32_": (
        {},
        {
            "start": CLOCK,
            "month": lambda t: date.fromisoformat(t + "-01"),
            "yq": lambda t: date(int(t[:4]), 3 * int(t[5]) - 2, 1),
        },
    ),
    "19/32b": ({}, {"duration": CLOCK, "weight": US, "size": lambda t: float(t[:-1]) * 1000 if "k" in t else float(t)}),
    "19/32d": ({}, {"when": DMY}),
    "19/32e": ({}, {"when": lambda t: date(int(t[-4:]), GERMAN[t.split()[1]], int(t[:2]))}),
    "19/46b": ({}, {"price": US}),
    "19/65": ({}, {"at": lambda t: pd.Timestamp(t[:10]) + pd.Timedelta(hours=int(t[11:13]))}),
    "19/95": ({}, {"pop": lambda t: int(t.strip("*"))}),
    "21": ({"escapechar": "\\"}, {}),
    "24": ({"sep": ";", "encoding": "cp1251"}, {}),
    "27": ({}, {"firmware": SAME}),
    "28": ({}, {}),
    "29": ({}, {}),
    "31": ({}, {"signed": DMY}),
    "32": ({}, {}),
    "02/67a": ({}, {}),
    "05": ({}, {}),
    "14": ({}, {}),
    "18/20": ({}, {}),
    "20": (
        {"skipinitialspace": True},
        {"when": lambda t: pd.Timestamp(t).tz_convert("UTC").tz_localize(None), "country": SAME},
    ),
    "22": ({}, {}),
    "23": ({"skiprows": 1}, {}),
    "25": ({}, {}),
    "26": ({}, {}),
    "30": ({}, {}),
}


TRAINED = {"16/50": "01-predict-dates-other-order", "16/70": "15-compact-dates-of-one-day"}


def cases() -> Iterator[Input]:
    """The files of the cases that are beside the clone, with the truth by a reader of a few lines for each."""
    for path in sorted(CASES.rglob("*.*")):
        place = f"{path.parent.name[:2]}/{path.name}"
        if path.suffix == ".md":
            continue
        how = next(entry for start, entry in TRUTHS.items() if place.startswith(start))
        trained = path.parent / "data.csv"
        is_new = path != trained and path.suffix == ".csv" and path.name.startswith(("new", "one"))
        train = trained.read_bytes() if is_new and trained.exists() else b""
        if place.startswith("16"):
            train = (CASES / TRAINED["16/50" if "16/50" in place else "16/70"] / "data.csv").read_bytes()
        truth = truth_of(path, *how)
        target = "отток" if place.startswith("24") else "amount" if "22b" in place else "churned"
        yield Input(f"case {path.parent.name}", path.name, path.name, path.read_bytes(), truth, target, train)


def truth_of(path: Path, options: dict[str, Any], cells: dict[str, Cell]) -> dict[str, list[Any]]:
    """The columns of a file by its own rule; a rule that fits a cell no more would raise."""
    if path.suffix != ".csv":
        return typed_truth(path)
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, engine="python", **options)
    raw = raw.rename(columns=str.strip)
    raw = raw[raw[raw.columns[0]] != raw.columns[0]]  # names that are repeated
    names = {
        "usage": "consumption: usage",
        "peak": "consumption: peak",
        "plan": "contract: plan",
        "months": "contract: months",
    }
    shown = names if path.parent.name.startswith("23") else {}
    return {shown.get(name, name): [cells.get(name, plain)(cell.strip()) for cell in raw[name]] for name in raw}


def typed_truth(path: Path) -> dict[str, list[Any]]:
    """The columns of JSON, Parquet or a workbook."""
    if path.suffix == ".json":
        records = json.loads(path.read_text())
        flat = [name for name, value in records[0].items() if not isinstance(value, dict | list)]
        return {name: [record[name] for record in records] for name in flat}
    if path.suffix == ".xlsx":
        frame = next(
            f for f in pd.read_excel(path, sheet_name=None, engine="calamine").values() if "churned" in f
        ).ffill()
    else:
        frame = pd.read_parquet(path).rename(columns=str.strip)
    found: dict[str, list[Any]] = {}
    for name, values in frame.items():
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            values = values.dt.tz_convert("UTC").dt.tz_localize(None)
        if values.dtype.kind == "m":
            values = values.dt.total_seconds()
        values = values.astype(object)
        found[str(name)] = [None if pd.isna(v) or v in (np.inf, -np.inf) else v for v in values]
    return found


def plain(text: str) -> Any:
    """A number where Python says so, else the text, as pandas would."""
    if text.upper() in ("TRUE", "FALSE"):
        return text.upper() == "TRUE"
    try:
        return float(text)
    except ValueError:
        return text or None


def made() -> list[Input]:
    """All inputs that are made here."""
    return [*made_numbers(), *made_dates(), *made_texts(), *made_layouts()]


def main() -> None:
    """A line for each kind, then what was not right."""
    inputs = [*made(), *(cases() if CASES.is_dir() else ())]
    wanted = [entry for entry in inputs if not sys.argv[1:] or any(word in entry.kind for word in sys.argv[1:])]
    found = [(entry, *outcome(entry)) for entry in wanted]
    counts = {kind: Counter(o for e, o, _ in found if e.kind == kind) for kind in dict.fromkeys(e.kind for e in wanted)}
    table = pd.DataFrame(
        [{"kind": kind, "inputs": n.total(), **{o: n[o] for o in OUTCOMES}} for kind, n in counts.items()]
    )
    print(table.to_string(index=False))
    for entry, result, detail in found:
        if result != "right":
            print(f"{result}: {entry.kind}, {entry.name}: {detail[:160]}")
    total = Counter(result for _, result, _ in found)
    print(f"{len(found)} inputs: " + ", ".join(f"{name} {total[name]}" for name in OUTCOMES))
    if not CASES.is_dir():
        print(f"The cases of {CASES} are not there: left out.")
    sys.exit(int(total[OUTCOMES[3]] > 0))


if __name__ == "__main__":
    main()
