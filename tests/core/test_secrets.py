"""Secrets are hidden in every form that a library may print them in."""

import base64
import html
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tdsp.core.secrets import hide_values

SECRET = "p4ss/w0rd+ü \"q\" 'r' <&>\\x%\ttab"
SIMPLE = "correct-horse-battery"
FORMS = {
    "as it is": str,
    "one line": lambda text: " ".join(text.split()),
    "URL": lambda text: quote(text, safe=""),
    "URL with slashes": quote,
    "form": quote_plus,
    "URL in small letters": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%C3%BC", "%c3%bc").lower(),
    "URL twice": lambda text: quote(quote(text, safe="")),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with its letters": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "shell": shlex.quote,
    "HTML": html.escape,
    "SQL": lambda text: text.replace("'", "''"),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "basic authorization": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "basic, another user": lambda text: base64.b64encode(f"somebody:{text}".encode()).decode(),
    "over two lines": lambda text: f"{text[:9]}\n    {text[9:]}",
    "over many lines": lambda text: "\r\n".join(text[i : i + 5] for i in range(0, len(text), 5)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [SECRET, SIMPLE])
def test_no_form_of_a_secret_is_shown(form: str, secret: str) -> None:
    """Half of it is none either; the text around it stays."""
    if form == "URL in small letters" and secret == SECRET:
        secret = secret.lower()
    shown = FORMS[form](secret)
    text = f"before {shown} after, again {shown}"
    hidden = hide_values(text, {secret: "${PASSWORD}"})
    assert hidden.startswith("before ") and " after, again " in hidden and "${PASSWORD}" in hidden
    for start in range(12 if "basic" in form else 0, len(shown) - 12):  # the user's name comes first there
        assert shown[start : start + 12] not in hidden.replace("${PASSWORD}", "\0")


PRINTABLE = st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp", "Zs"))


@given(st.text(PRINTABLE, min_size=4, max_size=40), st.sampled_from(sorted(set(FORMS) - {"URL in small letters"})))
def test_any_secret_is_hidden_in_any_form(secret: str, form: str) -> None:
    """But for forms that hold nothing of it."""
    assume("over" not in form or len(secret) >= 10)
    shown = FORMS[form](secret)
    assert shown not in hide_values(f"<{shown}>", {secret: "***"})


def test_short_values_do_not_blacken_the_page() -> None:
    """A secret of three letters hides itself alone; none hides nothing."""
    assert hide_values("YWJj abc 616263", {"abc": "***", "": "+++"}) == "YWJj *** 616263"


def test_a_long_log_is_searched_in_time() -> None:
    """A megabyte of lines that look nearly like the secret."""
    import time

    text, begun = ("correct-horse-batter\n" * 50_000), time.perf_counter()
    assert hide_values(text, {SIMPLE: "***"}) == text
    assert time.perf_counter() - begun < 20
