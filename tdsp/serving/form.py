"""A page where a person tries the model of a service: a form with typical values, and the prediction."""

import re
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from tdsp.core.project import PACKAGE
from tdsp.core.schema import Schema
from tdsp.packaging.loader import input_columns
from tdsp.serving.predictor import ServedModel
from tdsp.serving.requests import BadRequest, Columns

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def _json_cell(text: str, kind: str) -> str | float | bool | None:
    """A text of the form as JSON would have it; what does not fit is left for the schema check."""
    if text == "":
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind != "float":
        return text
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text.strip()) else text


def _field_text(value: str | float | bool | None) -> str:
    """A value as a field of the form shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def page(
    served: ServedModel,
    texts: Mapping[str, str],  # of each field
    *,
    prediction: Sequence[float] = (),
    warnings: Sequence[str] = (),
    error: BadRequest | None = None,
) -> Response:
    """The form, with the prediction or the reason why there is none."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = PACKAGE / "reporting/templates"
    pages = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    faults = {field.column: f"{field.found}, expected {field.expected}" for field in (error.fields if error else ())}
    columns = [
        spec | {"text": texts[spec["name"]], "fault": faults.get(spec["name"])} for spec in input_columns(served.schema)
    ]
    text = pages.get_template("form.html.j2").render(
        css=Markup((folder / "style.css").read_text(encoding="utf-8")),
        served=served,
        columns=columns,
        results=list(zip(_labels(served.schema), prediction, strict=True)) if prediction else [],
        warnings=warnings,
        problem=str(error) if error else "",
    )
    policy = {"content-security-policy": POLICY, "referrer-policy": "no-referrer", "cache-control": "no-store"}
    status = error.status if error else 200
    return Response(text.encode("utf-8", "replace"), status, policy, media_type="text/html")


def _labels(schema: Schema) -> list[str]:
    """The name of each number of a prediction, for a person."""
    if schema["task"] == "regression":
        return [str(schema["target"])]
    classes = [schema["positive_class"]] if schema["task"] == "binary" else schema["classes"]
    return [f"Probability of {name}" for name in classes]


def row_of(texts: Mapping[str, str], schema: Schema) -> Columns:
    """The row that the form holds, by column."""
    return {spec["name"]: [_json_cell(texts[spec["name"]], spec["type"])] for spec in input_columns(schema)}


def field_texts(example: Mapping[str, str | float | bool | None]) -> dict[str, str]:
    """The texts of the fields that show a row."""
    return {name: _field_text(value) for name, value in example.items()}
