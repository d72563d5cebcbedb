"""Text files are read as a careful person would read them, and refused by line where they cannot be."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsp.core.errors import DataError
from tdsp.data.cell_types import ReadOptions, type_columns
from tdsp.data.csv_reader import Layout, decode, detect_layout, read_cells, read_text
from tdsp.data.headers import is_value
from tdsp.data.remarks import RemarkCode


def read(text: str | bytes, **options):
    data = text if isinstance(text, bytes) else text.encode()
    return read_text(data, "flights.csv", **options)


def column(*values: str):
    import pyarrow as pa

    table, remarks = type_columns(pa.table({"x": list(values)}))
    return table["x"], " ".join(map(str, remarks))


# --- encoding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_text_survives_every_encoding_people_save_in(encoding):
    """The encoding is detected."""
    text = "city,delay\n" + "Málaga,3\nZürich,4\n" * 20
    assert decode(text.encode(encoding), "cities.csv")[0] == text


def test_damaged_utf8_is_not_mistaken_for_windows_text():
    """One bad byte in good UTF-8 is damage with a line, not another encoding."""
    data = "city,delay\nMálaga,1\nZürich,2\nÅrhus,3\n".encode().replace("Å".encode(), b"\xc3")
    with pytest.raises(DataError, match="line 4: damaged utf-8"):
        decode(data, "cities.csv")


def test_bytes_of_no_known_encoding_are_named():
    """0x81 exists in neither UTF-8 nor Windows-1252."""
    with pytest.raises(DataError, match="line 2: byte 0x81 is neither UTF-8 nor any other usual encoding"):
        decode(b"name,delay\n\x81\x81,3\n", "cities.csv")


def test_utf16_cut_in_the_middle_is_damage():
    """An odd number of bytes cannot be UTF-16."""
    with pytest.raises(DataError, match="damaged utf-16"):
        decode("a,b\n1,2\n".encode("utf-16")[:-1], "cut.csv")


# --- layout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", Layout(",", 2, 1)),
        ("a\tb\n1,5\t2,5\n", Layout("\t", 2, 1)),
        ("a|b\n1|2\n", Layout("|", 2, 1)),
        ("1,5;2,5\n3,5;4,5\n", Layout(";", 2, 0)),
        ("country,2019,2020\nChad,3.4,4.5\nMali,2.2,1.1\n", Layout(",", 3, 1)),
        ("0,1,2\n5.1,3.5,setosa\n4.9,3.0,setosa\n", Layout(",", 3, 1)),
        ("A11,A34\nA12,A32\nA14,A34\nA11,A32\n", Layout(",", 2, 0)),
    ],
)
def test_separator_and_header_are_found(text, expected):
    """Years and counts are names, codes that come back are values."""
    assert detect_layout(text) == expected


def test_a_given_layout_is_obeyed():
    """A stated option overrules detection."""
    table, _ = read("1,2\n3,4\n", layout=Layout(",", 2, 1))
    assert table.column_names == ["1", "2"]


def test_two_rows_of_names_become_one():
    """A survey's question and its answers are joined, a filler word is not repeated."""
    table, _ = read("id,Which films?,,,Age,Sex\n,I,II,III,Response,Response\n7,y,n,n,30-44,f\n8,n,n,y,18-29,m\n")
    assert table.column_names == ["id", "Which films?: I", "Which films?: II", "Which films?: III", "Age", "Sex"]
    assert table.num_rows == 2


def test_lines_quoted_as_a_whole_are_unwrapped():
    """The file of the Portuguese pupils reads as one column without this."""
    table, remarks = read('sex;age;mark\n"""F"";18;""6"""\n"""M"";17;""5"""\n')
    assert table.to_pydict() == {"sex": ["F", "M"], "age": [18, 17], "mark": [6, 5]}
    assert RemarkCode.WRAPPED in {remark.code for remark in remarks}


def test_quoted_values_keep_separators_quotes_and_newlines():
    """A quoted text is one value, whatever it holds."""
    table, _ = read('name,seats\n"Braund, Mr. ""Owen""",3\n"two\nlines",4\n')
    assert table["name"].to_pylist() == ['Braund, Mr. "Owen"', "two\nlines"]


@pytest.mark.parametrize(
    "name", ['he text "hi"', "<script>alert(1)</script>", "🛫 gate", "a'; DROP TABLE x;--", "مرحبا"]
)
def test_strange_column_names_are_kept(name):
    """A name is data: it is neither cleaned nor run."""
    quoted = name.replace('"', '""')
    table, _ = read(f'"{quoted}",b\n1,2\n')
    assert table.column_names == [name, "b"]


# --- rows and columns -------------------------------------------------------------------------------------------------


def test_a_ragged_row_is_named_by_its_line():
    """The line is that of the file, also below a value that holds a newline."""
    with pytest.raises(DataError, match=r"flights\.csv, line 5: 3 fields where the other rows have 2"):
        read('a,b\n"x\ny",1\n3,4\n5,6,7\n8,9\n')


@pytest.mark.parametrize("text", ['a,b\n1,"x\n2,y\n3,z\n', 'a,b\n1,"x\ny" z\n'])
def test_a_quote_that_is_never_closed_is_named_by_its_line(text):
    """It would take all rows below it for one value."""
    with pytest.raises(DataError, match=r"flights\.csv, line 2: a quote is opened and never closed"):
        read(text)


def test_empty_rows_and_nameless_empty_columns_go_and_are_counted():
    """Spreadsheets leave both behind."""
    table, remarks = read("a;b;\n1;2;\n3;4;\n;;\n;;\n")
    assert table.to_pydict() == {"a": [1, 3], "b": [2, 4]}
    texts = [str(remark) for remark in remarks]
    assert "2 empty rows left out" in texts and "1 empty column without a name left out" in texts


def test_rows_that_end_in_a_separator_keep_their_names():
    """The extra cell is at the end, not at the front."""
    table, _ = read("a,b\n1,2,\n3,4,\n")
    assert table.to_pydict() == {"a": [1, 3], "b": [2, 4]}


def test_a_model_of_one_feature_takes_csv():
    """One column is no table to train on, but may be all that a model takes; a decimal comma in it is refused."""
    assert read_cells(b'size\r\n1\r\n""\r\n3', "body").table.to_pydict() == {"size": ["1", "", "3"]}
    with pytest.raises(DataError, match="the rows hold 2 values, the header 1 name"):
        read_cells(b"size\n2,5\n3,5\n", "body")


@pytest.mark.parametrize("name", ["over 65", "2nd", "12 months", "Q1", "#1", "1e", "e", "under 18"])
def test_words_with_digits_are_names(name):
    """Only what is a number without words is a value above a table."""
    assert not is_value(name) and is_value("$1,200.50") and is_value("12 %") and is_value("1e-5")


def test_row_names_without_a_header_get_a_name():
    """R writes a first column without a name."""
    table, _ = read("cost,km\nr1,4.5,1\nr2,6.0,2\n")
    assert table.column_names == ["column_1", "cost", "km"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "flights.csv is empty"),
        (b"\n \n", "flights.csv is empty"),
        (b"a,b,c\n", "has a header and no rows"),
        (b"a,b\n,\n,\n", "has a header and no rows"),
        (b"name\nx\ny\n", "one column only; looked for tab, semicolon, bar, comma"),
        (bytes(range(256)) * 40, "binary data"),
        (b"a,b\n1,2\n3,\x00\n", "line 3: a NUL byte"),
        (b"a,b,c\n1,2\n3,4\n", None),
        (b"a,b,c,d\n1,2\n3,4\n", "4 names in the header, 2 values in the rows"),
    ],
)
def test_unreadable_files_are_refused_with_what_to_do(data, message):
    """Every bad file gets one message that names it."""
    with pytest.raises(DataError, match=message or "3 names in the header"):
        read(data)


@pytest.mark.parametrize(
    "data", [b",,\nx,y,z\n1,2,3\n", b"a,,,\nx,y\n1,2\n", b"a,,\nx,y,z,q\n1,2,3,4\n", b'"', b'"a\n', b",\n,\n1,2\n"]
)
def test_broken_headers_end_in_a_table_or_a_message(data):
    """Whatever a header looks like, nobody sees a traceback."""
    with suppress(DataError):
        assert read(data)[0].num_rows


# --- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", " 2 ", "?"], [1, 2, None]),
        (["1.5", "NA", "2"], [1.5, None, 2.0]),
        (["1.5", "inf", "2"], [1.5, None, 2.0]),
        (["True", "false", ""], [True, False, None]),
        (["02139", "10001", "10002"], ["02139", "10001", "10002"]),
        (["12345678901234567890", "1", "2"], ["12345678901234567890", "1", "2"]),
        (["$1,200", "$85", "-$3.50"], [1200, 85, -3.5]),
        (["95%", "100%", "7.5%"], [95, 100, 7.5]),
        (["1,200", "85", "(3)"], [1200, 85, -3]),
        (["$5", "€5", "$6"], ["$5", "€5", "$6"]),
        (["18-29", "30-44", "45-60"], ["18-29", "30-44", "45-60"]),
        (["$25,000 - $49,999", "$0 - $24,999", "?"], ["$25,000 - $49,999", "$0 - $24,999", None]),
        (["None", "Brick", "Stone"], ["None", "Brick", "Stone"]),
        (["3", "none", "4"], [3, None, 4]),
        (["18:00:00", "19:00:00", "06:30"], [64800, 68400, 23400]),
        (["8:42:24", "0:05", "100:00:00"], [31344, 300, 360000]),
        (["1.2.3", "1.10.0", "2.0.1"], ["1.2.3", "1.10.0", "2.0.1"]),
    ],
)
def test_a_column_gets_the_narrowest_kind_that_fits_all_its_values(values, expected):
    """Numbers written for people are numbers, codes and ranges stay text."""
    assert column(*values)[0].to_pylist() == expected


def test_decimal_comma_is_a_habit_of_the_whole_file():
    """1.046 is a thousand where other columns have decimal commas, and 1.046 where they have points."""
    comma, _ = read("temp;hits\n13,6;1.046\n7,25;955\n")
    point, _ = read("temp;hits\n13.6;1.046\n7.25;955\n")
    assert comma.to_pydict() == {"temp": [13.6, 7.25], "hits": [1046, 955]}
    assert point["hits"].to_pylist() == [1.046, 955]


def test_few_words_among_many_numbers_count_as_missing_and_are_named():
    """A shifted row or one damaged cell does not turn a column into text; codes with digits do."""
    numbers = [str(i) for i in range(100)]
    found, remark = column(*numbers, "ASIA")
    assert found.null_count == 1 and "'ASIA'" in remark
    found, remark = column(*numbers, "12.3.4")
    assert found.null_count == 1 and "1 damaged cell counts as missing: '12.3.4'" in remark
    assert column(*numbers, "20007-3413", "20007-3414")[0].null_count == 0


@pytest.mark.parametrize(
    ("values", "first", "remark"),
    [
        (["10/03/04", "4/04/05", "31/12/04"], "2004-03-10", "day first"),
        (["1/1/2011", "1/13/2011", "12/2/2012"], "2011-01-01", "month first"),
        (["10.03.2004", "11.03.2004", "10.05.2003"], "2004-03-10", "by habit"),
        (["01/02/2013", "02/02/2013", "03/02/2013", "01/03/2013"], "2013-02-01", "only then the rows are in order"),
        (["2013/10/19", "2013/1/2", "2013/1/3"], "2013-10-19", "year first"),
        (["5 Jan 2013", "17 Feb 2013", "18 Feb 2013"], "2013-01-05", "month named"),
        (["January 5, 2013", "February 17, 2013", "May 1, 2013"], "2013-01-05", "month named"),
        (["20131019", "20131020", "20131101"], "2013-10-19", "year, month, day"),
        (["2013-10-19T04:00:00Z", "2013-10-19 06:00+02:00", "2013-10-20"], "2013-10-19T04:00", "UTC"),
    ],
)
def test_dates_are_read_in_the_order_all_values_allow(values, first, remark):
    """Evidence first, then the order of the rows, then habit; the remark says which."""
    found, text = column(*values)
    assert found[0].as_py().isoformat().startswith(first) and remark in text


def test_far_years_and_noon_are_read_right():
    """Year 9999 fits, 12:30 am is half past midnight."""
    assert column("9999-12-31", "2013-01-01")[0][0].as_py().year == 9999
    assert column("3/14/2004 12:30 am", "3/15/2004 1:00 pm")[0].to_pylist()[0].hour == 0


def test_more_missing_codes_can_be_given():
    """-999 is a number unless it is stated as a missing code."""
    table, _ = read("temp,wind\n-999,1\n3,-999\n", reading=ReadOptions(missing_codes=("-999",)))
    assert table.to_pydict() == {"temp": [None, 3], "wind": [1, None]}


@given(st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=2, max_size=20))
def test_whole_numbers_come_back_as_they_were(numbers):
    """Writing and reading a column of numbers changes nothing."""
    table, _ = read("a,b\n" + "".join(f"{n},x\n" for n in numbers))
    assert table["a"].to_pylist() == numbers


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=2, max_size=20))
def test_fractions_come_back_as_they_were(numbers):
    """Every digit of a float survives."""
    table, _ = read("a,b\n" + "".join(f"{n!r},x\n" for n in numbers))
    assert table["a"].to_pylist() == numbers
