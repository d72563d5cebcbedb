"""Files as programs export them: each kind is made here, and read as it is meant, with a remark on what was done."""

import random

import pytest

from tdsp.core.errors import DataError
from tdsp.data.cell_types import ReadOptions
from tdsp.data.csv_reader import read_text
from tdsp.data.remarks import RemarkCode

NAMES = ["age", "usage", "plan", "churned"]


def customers(n=60, seed=0):
    """Rows of four columns, as texts."""
    draw = random.Random(seed)
    return [
        [
            str(draw.randint(18, 80)),
            f"{draw.random() * 90:.1f}",
            draw.choice(["pro", "basic"]),
            draw.choice(["no", "yes"]),
        ]
        for _ in range(n)
    ]


def text_of(rows, names=NAMES, sign=","):
    """A text file of these rows."""
    return "".join(sign.join(row) + "\n" for row in [names, *rows])


def read(text, target="", **options):
    """The table, and the codes of its remarks."""
    data = text if isinstance(text, bytes) else text.encode()
    table, remarks = read_text(data, "new.csv", reading=ReadOptions(target=target, **options))
    return table, {remark.code for remark in remarks}


def usual(n=60, seed=0):
    """The table as it is meant."""
    return read(text_of(customers(n, seed)))[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_quote_after_a_blank_opens_a_value(seed):
    """Separator, blank, quote: a separator inside belongs to the value."""
    rows = [[a, u, f'"{p}, x"', c] for a, u, p, c in customers(seed=seed)]
    table, _ = read(text_of(rows, sign=", "))
    assert table.column_names == NAMES and set(table["plan"].to_pylist()) == {"pro, x", "basic, x"}


def test_an_unquoted_decimal_comma_is_refused_and_row_names_are_not():
    """A first column without a name is taken only where it names the rows."""
    rows = customers()
    with pytest.raises(DataError, match=r"the rows hold 5 values, the header 4 names\. A value"):
        read(text_of([[row[0], row[1].replace(".", ","), *row[2:]] for row in rows]))
    for named in ([str(i + 1) for i in range(60)], [f"row {i}" for i in range(60)]):
        assert read(text_of([[name, *row] for name, row in zip(named, rows)]))[0].column_names == ["column_1", *NAMES]


@pytest.mark.parametrize("word", ["Total", "Summe:", "GRAND TOTAL", "Итого"])
def test_a_total_at_the_end_is_left_out_where_its_numbers_are_sums(word):
    """A row with the word alone stays, with a remark."""
    rows = [[f"C{i}", *row] for i, row in enumerate(customers())]
    sums = [str(sum(int(row[1]) for row in rows)), f"{sum(float(row[2]) for row in rows):.1f}"]
    for last, code in ((sums, RemarkCode.TOTAL), (["7", "9.5"], RemarkCode.TOTAL_KEPT)):
        table, codes = read(text_of([*rows, [word, *last, "", ""]], ["customer", *NAMES]))
        assert code in codes and table.num_rows == 60 + (code == RemarkCode.TOTAL_KEPT)


@pytest.mark.parametrize("code", ["0xE79C20", "0X1F", "+491711234567", "+49 171 1234567"])
def test_hexadecimal_codes_and_phone_numbers_are_text(code):
    """They look like numbers and are none."""
    table, codes = read(text_of([[code[:-1] + str(i % 10), *row] for i, row in enumerate(customers())], ["id", *NAMES]))
    assert str(table["id"].type) == "string" and RemarkCode.DIGITS_AS_TEXT in codes


@pytest.mark.parametrize("names", [list("1234"), ["2019", "2020", "2021", "2022"], ["10", "20", "30", "40"]])
def test_numbers_among_words_may_be_names(names):
    """Months and years as columns, with and without the target's name."""
    rows = [[*row[:2], *(f"{i * 0.7:.1f}" for i in range(len(names))), *row[2:]] for row in customers()]
    header = ["age", "usage", *names, "plan", "churned"]
    for target in ("churned", ""):
        assert read(text_of(rows, header), target)[0].column_names == header


@pytest.mark.parametrize(
    "above",
    [
        '# export of billing\n# "all" customers\n',
        "Billing export,,,\nas of,01.05.2024,,\n\n",
        "Report of May\n\n\n",
        ",,,\n,,,\nBilling\n",
        "Billing; all, customers\n",
    ],
)
def test_comments_titles_and_empty_lines_above_the_names_are_left_out(above):
    """With and without the target's name."""
    for target in ("churned", ""):
        table, codes = read(above + text_of(customers()), target)
        assert table.equals(usual()) and RemarkCode.ROWS_ABOVE in codes


def test_comments_between_rows_and_a_row_of_tags_are_left_out():
    """A comment is no row; tags such as #date are no values."""
    lines = text_of(customers()).splitlines()
    table, codes = read("\n".join([*lines[:20], "# outage, all plans", *lines[20:]]) + "\n")
    assert table.equals(usual()) and RemarkCode.COMMENTS in codes
    table, codes = read("\n".join([lines[0], "#age,#usage,#plan,#churned", *lines[1:]]) + "\n")
    assert table.equals(usual()) and RemarkCode.TAGS in codes


def test_escaped_quotes_are_read():
    """A backslash before a quote, with a separator inside."""
    rows = [[*row[:3], f'"he said \\"hi{"," * (i % 2)} you\\""', row[3]] for i, row in enumerate(customers())]
    table, _ = read(text_of(rows, [*NAMES[:3], "note", "churned"]))
    assert set(table["note"].to_pylist()) == {'he said "hi you"', 'he said "hi, you"'}


@pytest.mark.parametrize("times", [1, 3])
def test_names_repeated_among_the_rows_are_left_out(times):
    """Files put one below the other keep their names."""
    text = "".join(text_of(customers(20, seed)) for seed in range(times + 1))
    table, codes = read(text)
    assert table.num_rows == 20 * (times + 1) and RemarkCode.HEADER_REPEATED in codes
    assert str(table["age"].type) == "int64"


def test_a_blank_above_a_name_adds_nothing():
    """Two rows of names; the target keeps the name that was given."""
    rows = [["C1", *row, "x"] for row in customers()]
    text = ",consumption,,contract,,\n" + text_of(rows, ["customer", "usage", "peak", "plan", "churned", "more"])
    expected = ["customer", "consumption: usage", "consumption: peak", "contract: plan"]
    assert read(text, "churned")[0].column_names == [*expected, "churned", "contract: more"]


def test_questions_above_and_choices_below_are_two_rows_of_names():
    """Also where the first row holds the target; a word below it that is one of its values is a first row instead."""
    top = ["id", "Seen?", "", "", "Fan?"]
    rows = [[str(i), "One", "Two" if i % 2 else "", "Three", "yes" if i % 3 else "no"] for i in range(30)]
    survey = text_of([["", "One", "Two", "Three", "Response"], *rows], top)
    assert read(survey, "Fan?")[0].column_names == ["id", "Seen?: One", "Seen?: Two", "Seen?: Three", "Fan?"]
    plain = [["a", "b", "c", "d", "yes" if i % 3 else "no"] for i in range(30)]
    assert read(text_of(plain, top), "Fan?")[0].num_rows == 30


CITIES = {
    "cp1251": "тариф отток да нет Москва Казань Тверь Новосибирск",
    "koi8_r": "тариф отток да нет Москва Казань Тверь Новосибирск",
    "cp1250": "miejscowość odejście źle średni Łódź Kraków Gdańsk",
    "cp1252": "Größe Straße Zürich Köln Málaga Évreux",
    "cp932": "料金 解約 はい いいえ 東京 大阪 名古屋",
    "gb18030": "套餐 流失 是 否 北京 上海 广州",
    "big5": "方案 流失 是 否 臺北 高雄 臺中",
    "cp949": "요금제 이탈 예 아니오 서울 부산 대구",
    "cp1254": "şehir ayrıldı İstanbul Iğdır Muş Ağrı",
    "cp1253": "πελάτης ναι όχι Αθήνα Θεσσαλονίκη",
}


@pytest.mark.parametrize("encoding", CITIES)
def test_other_encodings_are_found(encoding):
    """By the letters of whole languages; the remark names the encoding."""
    first, second, *values = CITIES[encoding].split()
    draw = random.Random(0)
    rows = [[*row[:2], draw.choice(values), draw.choice(values[:2])] for row in customers()]
    text = text_of(rows, ["age", "usage", first, second])
    expected, _ = read(text)
    assert read(text.encode(encoding), second)[0].equals(expected) and read(text.encode(encoding))[0].equals(expected)


def test_a_short_text_is_in_the_encoding_of_training_where_it_is_no_utf_8():
    """One Polish word does not tell its encoding; what is UTF-8 stays so."""
    row = "city,age\nZamość,4\n"
    for data in (row.encode("cp1250"), row.encode("utf-8")):
        assert read(data, likely_encoding="cp1250")[0]["city"].to_pylist() == ["Zamość"]


def test_an_uncertain_encoding_is_refused_with_the_way_to_state_it():
    """A guess that may be wrong would name columns wrongly."""
    with pytest.raises(DataError, match="tdsp init --encoding NAME"):
        read(text_of(customers(), [*NAMES[:3], "Málaga"]).encode("cp437"))


def test_text_encoded_twice_is_put_right():
    """The sign of the rupee comes back, with a remark."""
    rows = [[*row[:2], f"{row[2]} ₹ café", row[3]] for row in customers()]
    text = text_of(rows)
    table, codes = read(text.encode().decode("latin-1").encode())
    assert table.equals(read(text)[0]) and RemarkCode.TWICE_ENCODED in codes


def test_doubled_and_padded_names_are_numbered_and_stripped():
    """A second column of a name gets a number."""
    table, codes = read(text_of(customers(), [" age ", "usage", "usage", '"chur\nned"']))
    assert table.column_names == ["age", "usage", "usage_2", "chur ned"] and RemarkCode.DOUBLED_NAME in codes
