# SPDX-License-Identifier: Apache-2.0
"""The description of a server in OpenAPI's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..version import __version__
from .served import DATATYPES, Field, Served

TENSOR = {
    "type": "object", "required": ["name", "shape", "datatype"],
    "properties": {"name": {"type": "string"}, "shape": {"type": "array", "items": {"type": "integer"}},
                   "datatype": {"type": "string", "enum": list(DATATYPES)}, "data": {"type": "array", "items": {}},
                   "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}}}}
REQUEST = {
    "type": "object", "required": ["inputs"],
    "properties": {"id": {"type": "string"},
                   "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
                   "outputs": {"type": "array", "items": {"type": "object", "required": ["name"],
                                                          "properties": {"name": {"type": "string"}}}}}}
ANSWER = {
    "type": "object", "required": ["model_name", "outputs"],
    "properties": {"model_name": {"type": "string"}, "model_version": {"type": "string"}, "id": {"type": "string"},
                   "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}}}}
FAULT = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


def schema(models: Sequence[Served]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of the routes of these models, each with an example that it answers."""
    paths: dict[str, Any] = {"/v2": _get("the server"), "/v2/health/live": _get("whether the server runs"),
                             "/v2/health/ready": _get("whether the models answer"), "/v2/models": _get("all models"),
                             "/metrics": _get("counts for Prometheus")}
    for model in models:
        base = f"/v2/models/{model.name}"
        paths |= {base: _get(f"inputs and outputs of {model.name}"),
                  f"{base}/ready": _get(f"whether {model.name} answers"),
                  f"{base}/infer": {"post": _infer(model)}}
        if model.of_file is not None:
            paths[f"{base}/files"] = {"post": _files(model)}
    return {"openapi": "3.1.0", "info": {"title": "chainrule", "version": __version__}, "paths": paths,
            "components": {"schemas": {"Tensor": TENSOR, "Request": REQUEST, "Answer": ANSWER, "Fault": FAULT}}}


def example(model: Served) -> dict[str, Any]:
    """A request of one sample: zeros, and empty texts."""
    return {"inputs": [{**field.described(), "shape": [1, *field.shape[1:]], "data": _data(field)}
                       for field in model.inputs]}


def _data(field: Field) -> list[Any]:
    count = 1
    for extent in field.shape[1:]:
        count *= extent
    return [""] * count if field.datatype == "BYTES" else [False] * count if field.datatype == "BOOL" else [0] * count


def _answers(kind: dict[str, Any]) -> dict[str, Any]:
    fault = {"description": "what is wrong",
             "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}}}
    return {"200": {"description": "done", "content": {"application/json": {"schema": kind}}}, "4XX": fault,
            "5XX": fault}


def _get(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": _answers({"type": "object"})}}


def _infer(model: Served) -> dict[str, Any]:
    content = {"schema": {"$ref": "#/components/schemas/Request"}, "example": example(model)}
    return {"summary": f"what {model.name} says of samples",
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": _answers({"$ref": "#/components/schemas/Answer"})}


def _files(model: Served) -> dict[str, Any]:
    form = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
    return {"summary": f"what {model.name} says of a file",
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
            "responses": _answers({"type": "object"})}
