"""OpenAPI 3.1 documents of programs on offer: their paths, and the schemas of their signatures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lmflow.errors import short
from lmflow.programs.program import Program
from lmflow.serve.problems import MEDIA
from lmflow.signatures.json_schema import schema_of
from lmflow.values.record import digest, plain, pretty

_REF = "#/components/schemas/"
_STATUSES = {
    "400": "The body isn't a JSON object.",
    "401": "The token is missing or wrong.",
    "402": "It needs more than its budget.",
    "413": "The body is too large.",
    "415": "The body isn't sent as application/json.",
    "422": "The inputs don't fit the signature.",
    "429": "Too many requests wait; Retry-After says how long to.",
    "500": "The program itself failed.",
    "502": "A model or tool failed, or gave no reply that holds what the signature promises.",
    "503": "The model, the store or the version can't be had, or the server is stopping.",
    "504": "It took too long.",
}
_PROBLEM = {
    "type": "object",
    "description": (
        "Problem details (RFC 9457). `error` is the kind; the words of what failed are in the run."
    ),
    "properties": {
        **{
            name: {"type": "string"}
            for name in ("type", "title", "detail", "error", "run", "trace", "version")
        },
        "status": {"type": "integer"},
    },
    "required": ["type", "title", "status", "detail", "error"],
}
_STREAM = (
    "Events of text/event-stream: `piece` with {address, field, text, anew} as outputs come (anew: "
    "what came of this field from this address is void), then `done` with the same object as "
    "application/json, or `error` with a problem."
)


def document(
    programs: Mapping[str, Program], *, url: str = "/", token: bool = False
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of programs by name, at the base ``url``; with ``token``, requests
    need a bearer token.
    """
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, Any] = {}
    for name, program in programs.items():
        schemas |= _schemas(name, program)
        paths[path_of(name, programs)] = {"post": _operation(name, program)}
    paths["/healthz"] = {"get": _health()}
    spec: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": ", ".join(programs), "version": version_of(programs)},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if token:
        spec["components"] |= {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
        spec["security"] = [{"token": []}]
    return spec


def version_of(programs: Mapping[str, Program]) -> str:
    """Twelve digits of a hash of the programs' keys: the version changes if a program does."""
    return short(digest("programs", {name: program.key for name, program in programs.items()}))


def path_of(name: str, programs: Mapping[str, Any]) -> str:
    """The path of a program: ``/run`` if it is the only one, else ``/run/NAME``."""
    return "/run" if len(programs) == 1 else f"/run/{name}"


def inputs_of(program: Program) -> dict[str, Any]:
    """The schema of a program's inputs: those with a default are optional."""
    schema: dict[str, Any] = plain(schema_of(program.signature.inputs, "taken"))
    return schema


def outputs_of(program: Program) -> dict[str, Any]:
    """The schema of a program's outputs, all of which are required."""
    schema: dict[str, Any] = plain(schema_of(program.signature.outputs, "given"))
    return schema


def sample(  # noqa: PLR0911 - one return a kind
    schema: Mapping[str, Any], defs: Mapping[str, Any] | None = None
) -> Any:
    """An example value of a schema. Of limits only minima are heeded."""
    definitions = schema.get("$defs", defs or {})
    if "$ref" in schema:
        return sample(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], definitions)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {
                name: sample(schema["properties"][name], definitions)
                for name in schema.get("required", ())
            }
        case "array":
            return [sample(schema["items"], definitions)] * max(schema.get("minItems", 1), 1)
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
        case "null":
            return None
    return {"date": "2026-01-31", "time": "12:00:00", "date-time": "2026-01-31T12:00:00"}.get(
        schema.get("format", ""), "..."
    )


def _schemas(name: str, program: Program) -> dict[str, Any]:
    components = {
        **_components(f"{name}.Inputs", inputs_of(program)),
        **_components(f"{name}.Outputs", outputs_of(program)),
    }
    answer = {
        "type": "object",
        "properties": {
            "outputs": {"$ref": f"{_REF}{name}.Outputs"},
            **{id_: {"type": "string"} for id_ in ("run", "trace", "version")},
        },
        "required": ["outputs", "run", "trace", "version"],
    }
    return {**components, f"{name}.Answer": answer}


def _components(title: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema and its definitions as components of the document, with references to those."""
    defs = schema.pop("$defs", {})
    names = {
        definition: f"{title}.{re.sub(r'[^A-Za-z0-9._-]', '_', definition)}" for definition in defs
    }

    def relink(node: Any) -> Any:
        if isinstance(node, list):
            return [relink(part) for part in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            return {"$ref": f"{_REF}{names[reference.rpartition('/')[2]]}"}
        return {key: relink(part) for key, part in node.items()}

    return {title: relink(schema), **{names[key]: relink(part) for key, part in defs.items()}}


def _operation(name: str, program: Program) -> dict[str, Any]:
    problem = {MEDIA: {"schema": {"$ref": f"{_REF}Problem"}}}
    answer = {
        "application/json": {"schema": {"$ref": f"{_REF}{name}.Answer"}},
        "text/event-stream": {"schema": {"type": "string", "description": _STREAM}},
    }
    return {
        "operationId": f"run_{name}",
        "summary": str(program.signature),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"{_REF}{name}.Inputs"}}},
        },
        "responses": {
            "200": {"description": "The outputs, and where they are recorded.", "content": answer},
            **{
                status: {"description": words, "content": problem}
                for status, words in _STATUSES.items()
            },
        },
    }


def _health() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    summary = "Whether the store can be written and each ref leads to a version; asks no model."
    return {
        "operationId": "health",
        "security": [],
        "summary": summary,
        "responses": {
            "200": {"description": "It can run programs.", "content": content},
            "503": {"description": "It can't.", "content": content},
        },
    }


def curl(program: Program, address: str, token: str = "") -> str:
    """The command line that calls a program at an address; ``token`` names the environment variable
    that holds the token.
    """
    body = pretty(sample(inputs_of(program))).replace("'", "'\\''")
    secret = f' -H "Authorization: Bearer ${token}"' if token else ""
    return f"curl -s {address} -H 'Content-Type: application/json'{secret} -d '{body}'"
