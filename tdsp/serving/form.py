"""What a service shows of its model: a form for people, OpenAPI for programs."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from tdsp.core.project import PACKAGE
from tdsp.packaging.loader import contract_limits
from tdsp.serving.predictor import ServedModel
from tdsp.serving.requests import BadRequest, Columns

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


# the form -----------------------------------------------------------------------------------------------------------
def _cell(text: str, spec: Any) -> Any:
    """What a person typed, as JSON would have it; what does not fit is left for the schema check."""
    if text == "":
        return None
    if spec["type"] == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if spec["type"] != "float":
        return text
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text.strip()) else text


def _written(value: Any) -> str:
    """A value as a form shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def page(
    served: ServedModel,
    texts: Mapping[str, str],  # what stands in each field
    *,
    answer: Sequence[float] = (),
    warnings: Sequence[str] = (),
    error: BadRequest | None = None,
) -> Any:
    """The form, with what the model answered or why it could not."""
    from fastapi.responses import Response
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = PACKAGE / "reporting/templates"
    pages = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    faults = {f["column"]: f"{f['found']}, expected {f['expected']}" for f in (error.fields if error else [])}
    columns = [s | {"text": texts[s["name"]], "fault": faults.get(s["name"])} for s in served.schema["columns"]]
    text = pages.get_template("form.html.j2").render(
        css=Markup((folder / "style.css").read_text(encoding="utf-8")),
        served=served,
        columns=columns,
        results=list(zip(_labels(served.schema), answer, strict=True)) if len(answer) else [],
        warnings=warnings,
        problem=str(error) if error else "",
    )
    policy = {"content-security-policy": POLICY, "referrer-policy": "no-referrer", "cache-control": "no-store"}
    status = error.status if error else 200
    return Response(text.encode("utf-8", "replace"), status, policy, media_type="text/html")


def _labels(schema: Mapping[str, Any]) -> list[str]:
    """What each number of an answer is, for a person."""
    if schema["task"] == "regression":
        return [str(schema["target"])]
    classes = [schema["positive_class"]] if schema["task"] == "binary" else schema["classes"]
    return [f"Probability of {name}" for name in classes]


def typed(texts: Mapping[str, str], schema: Mapping[str, Any]) -> Columns:
    """The one row that a person typed, by column."""
    return {spec["name"]: [_cell(texts[spec["name"]], spec)] for spec in schema["columns"]}


def written(example: Mapping[str, Any]) -> dict[str, str]:
    """A row as the form shows it."""
    return {name: _written(value) for name, value in example.items()}


# OpenAPI ------------------------------------------------------------------------------------------------------------
_JSON_TYPES = {"float": "number", "boolean": "boolean", "string": "string", "timestamp": "string"}
REFUSALS = (400, 401, 403, 408, 413, 415)


def describe(routes: Sequence[Any], served: ServedModel) -> dict[str, Any]:
    """OpenAPI of the service, with the columns of the model that answers now."""
    from fastapi.openapi.utils import get_openapi

    document = get_openapi(title=f"{served.name} {served.version}", version=served.version, routes=routes)
    content = {"application/json": _bodies(served), "text/csv": {"schema": {"type": "string"}}}
    error = {"type": "object", "required": ["error_code", "message"]}
    responses = {
        str(status): {"description": HTTPStatus(status).phrase, "content": _json(error)} for status in REFUSALS
    }
    responses["200"] = {"description": "One prediction for each row", "content": _json(_answer(served))}
    post = {"summary": "Predict rows; MLflow's protocol", "operationId": "invocations", "responses": responses}
    document["paths"]["/invocations"] = {"post": post | {"requestBody": {"required": True, "content": content}}}
    return document


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _answer(served: ServedModel) -> dict[str, Any]:
    """What comes back."""
    row = {"type": "object", "properties": {name: {"type": "number"} for name in served.columns}}
    warnings = {"type": "array", "items": {"type": "string"}}
    properties = {"predictions": {"type": "array", "items": row}, "warnings": warnings}
    return {"type": "object", "required": ["predictions"], "properties": properties}


def _property(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON holds in a column."""
    kinds = [_JSON_TYPES[spec["type"]], *(["null"] if spec.get("nullable", True) else [])]
    about = contract_limits(spec) if spec["type"] == "float" else {}
    about |= {"enum": [*spec["levels"], *([None] if len(kinds) > 1 else [])]} if spec.get("closed") else {}
    return {"type": kinds} | ({"format": "date-time"} if spec["type"] == "timestamp" else about)


def _bodies(served: ServedModel) -> dict[str, Any]:
    """What can be sent, in each format, with an example of each."""
    specs, example = served.schema["columns"], served.example
    row = {"type": "object", "required": list(example), "properties": {spec["name"]: _property(spec) for spec in specs}}
    rows = {"type": "array", "items": row, "minItems": 1}
    split = {"type": "object", "required": ["columns", "data"], "properties": {}}
    forms = {"dataframe_records": rows, "dataframe_split": split, "instances": rows, "inputs": {"type": "object"}}
    values = {
        "dataframe_records": [example],
        "dataframe_split": {"columns": list(example), "data": [list(example.values())]},
        "instances": [example],
        "inputs": {name: [value] for name, value in example.items()},
    }
    kinds = [{"type": "object", "required": [name], "properties": {name: form}} for name, form in forms.items()]
    return {"schema": {"anyOf": kinds}, "examples": {name: {"value": {name: value}} for name, value in values.items()}}
