"""OpenAPI of the service: the rows that the model in use takes, and the responses."""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from types import UnionType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, create_model
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from tdsp.core.files import Json
from tdsp.core.schema import ColumnSpec
from tdsp.packaging.loader import contract_limits, input_columns
from tdsp.serving.predictor import ServedModel
from tdsp.serving.requests import FieldProblem

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

REFUSALS = (400, 401, 408, 413, 415)
_TYPES: dict[str, type] = {"float": float, "boolean": bool, "string": str, "timestamp": datetime}


class Refusal(BaseModel):
    """An error in MLflow's form."""

    error_code: str
    message: str
    fields: list[FieldProblem] = []


def _cell(spec: ColumnSpec) -> tuple[type | UnionType, FieldInfo]:
    """Type and limits of a cell as JSON holds it; any text can be the name of a column, so it is an alias."""
    kind = _TYPES[spec["type"]]
    limits = contract_limits(spec) if spec["type"] == "float" else {}
    levels: JsonDict | None = {"enum": [*(spec["levels"] or ())]} if spec.get("closed") else None
    field: FieldInfo = Field(
        alias=spec["name"], ge=limits.get("minimum"), le=limits.get("maximum"), json_schema_extra=levels
    )
    return (kind | None if spec.get("nullable", True) else kind), field


def _models(served: ServedModel) -> tuple[list[type[BaseModel]], type[BaseModel]]:
    """The bodies that can be sent, in the order of MLflow's formats, and the predictions."""
    cells: dict[str, Any] = {f"column_{i}": _cell(spec) for i, spec in enumerate(input_columns(served.schema))}
    row = create_model("Row", **cells)
    rows = (list[row], Field(min_length=1))  # type: ignore[valid-type]
    split = create_model("Split", columns=(list[str], ...), data=(list[list[Any]], ...))
    bodies = [
        create_model("Records", dataframe_records=rows),
        create_model("SplitRows", dataframe_split=(split, ...)),
        create_model("Instances", instances=rows),
        create_model("Inputs", inputs=(dict[str, list[Any]], ...)),
    ]
    numbers: dict[str, Any] = {f"column_{i}": (float, Field(alias=name)) for i, name in enumerate(served.columns)}
    prediction = create_model("Prediction", **numbers)
    rows_out = (list[prediction], ...)  # type: ignore[valid-type]
    return bodies, create_model("Predictions", predictions=rows_out, warnings=(list[str], []))


def describe(routes: Sequence["BaseRoute"], served: ServedModel) -> dict[str, Json]:
    """The OpenAPI document, with the columns of the model in use and an example in each format."""
    from fastapi.openapi.utils import get_openapi

    document = get_openapi(title=f"{served.name} {served.version}", version=served.version, routes=routes)
    bodies, predictions = _models(served)
    models: list[type[BaseModel]] = [*bodies, predictions, Refusal]
    references, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])

    def response(status: int, description: str, model: type[BaseModel]) -> dict[str, Json]:
        content = {"application/json": {"schema": references[model, "validation"]}}
        return {str(status): {"description": description, "content": content}}

    responses = response(200, "One prediction for each row", predictions)
    for status in REFUSALS:
        responses |= response(status, HTTPStatus(status).phrase, Refusal)
    example = served.example
    examples = {
        "dataframe_records": [example],
        "dataframe_split": {"columns": list(example), "data": [list(example.values())]},
        "instances": [example],
        "inputs": {name: [value] for name, value in example.items()},
    }
    json_body = {
        "schema": {"anyOf": [references[model, "validation"] for model in bodies]},
        "examples": {name: {"value": {name: value}} for name, value in examples.items()},
    }
    content = {"application/json": json_body, "text/csv": {"schema": {"type": "string"}}}
    post = {"summary": "Predict rows; MLflow's protocol", "operationId": "invocations", "responses": responses}
    document["paths"]["/invocations"] = {"post": post | {"requestBody": {"required": True, "content": content}}}
    return document
