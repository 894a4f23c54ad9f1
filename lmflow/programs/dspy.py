"""Versions as the JSON that DSPy 3 saves a program's state in, and back.

DSPy's ``fields`` are positional and carry neither names nor types (dspy/signatures/signature.py,
``dump_state``). What DSPy ignores, names and our own version in ``metadata``, lets a file return
here with its id.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from typing import Any

from lmflow.errors import BadMedia, ForeignFile, LmflowError, listed, near, short
from lmflow.programs.program import Predict, Program, completed
from lmflow.signatures.signature import Field
from lmflow.values.media import media_in
from lmflow.values.record import Record, canonical, plain
from lmflow.versions.version import Version, version_of

LM = "dspy.clients.lm.LM"

_FIX = "Import it into the program that it was saved from. Nothing was imported."
_OPTIONS = frozenset(
    {
        "temperature",
        "max_tokens",
        "top_p",
        "stop",
        "seed",
        "n",
        "frequency_penalty",
        "presence_penalty",
    }
)


def to_dspy(
    program: Program,
    version: Version,
    lineage: tuple[str, ...] = (),
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The version as DSPy's saved state of the same program, one entry a predictor in program
    order.

    Steps are called as here, ``STEP.predict`` where they reason first, as DSPy's ``ChainOfThought``
    does; ``names`` (step -> DSPy path) says otherwise. The version itself and the ids of its
    ancestors stand in ``metadata``.
    """
    params, steps = completed(program, version), program.predictors.items()
    state = {
        _called(name, step, names): _predictor(name, step, params, version) for name, step in steps
    }
    own: dict[str, Any] = {"id": version.id, "lineage": list(lineage), **plain(version.to_json())}
    needed = {"python": ".".join(platform.python_version_tuple()[:2])}
    return {**state, "metadata": {"dependency_versions": needed, "lmflow": own}}


def from_dspy(
    program: Program, data: Mapping[str, Any], file: str, names: Mapping[str, str] | None = None
) -> Version:
    """The version of the program that DSPy's saved state says; the version that was exported where
    nothing changed.

    ``ForeignFile`` where a predictor is missing or has another number of fields: DSPy itself would
    mix them up.
    """
    own, steps = _own(program, data, file), program.predictors
    if len(steps) == 1 and "signature" in data:  # a bare predictor is saved without a path
        data = {next(iter(steps)): data, "metadata": data["metadata"]}
    params: dict[str, Any] = dict(completed(program, own))
    for name, step in steps.items():
        params |= _read(name, step, _entry(name, step, data, file, names), params, file)
    if own is not None and all(
        canonical(own.params[path]) == canonical(params[path]) for path in own.params
    ):
        return own
    made_by = data.get("metadata", {}).get("dependency_versions", {}).get("dspy", "")
    note = f"imported from DSPy {made_by}".strip()
    return Version(params=Record(params), parents=(own.id,) if own else (), note=note)


def _called(name: str, step: Predict, names: Mapping[str, str] | None) -> str:
    if names and name in names:
        return names[name]
    first = step.signature.outputs[0].name
    return f"{name}.predict" if first == "reasoning" and len(step.signature.outputs) > 1 else name


def _fields(step: Predict) -> tuple[Field, ...]:
    return (*step.signature.inputs, *step.signature.outputs)


def _predictor(name: str, step: Predict, params: Record, version: Version) -> dict[str, Any]:
    made = f"{name}.demos" in version.origin
    if media := next(media_in(params[f"{name}.demos"]), None):
        raise BadMedia(
            "state of DSPy", f"{name}.demos holds {media}", "Export the version as JSON."
        )
    demos = [
        plain(demo) | ({"augmented": True} if made else {}) for demo in params[f"{name}.demos"]
    ]
    fields = [
        {
            "prefix": f"{_title(f.name)}:",
            "description": f.description or f"${{{f.name}}}",
            "name": f.name,
        }
        for f in _fields(step)
    ]
    return {
        "traces": [],
        "train": [],
        "demos": demos,
        "signature": {"instructions": params[f"{name}.instruction"], "fields": fields},
        "lm": _lm(params[f"{name}.model"], params[f"{name}.options"]),
    }


def _title(name: str) -> str:
    """A field's name as DSPy writes it before the field."""
    words = re.sub(
        r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[a-zA-Z])", " ", name.replace("_", " ")
    ).split()
    return " ".join(word if word.isupper() else word.capitalize() for word in words)


def _lm(model: str, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The model as DSPy keeps one, ``None`` for the one that the program is run with."""
    if not model:
        return None
    fixed = {
        "_dspy_lm_class": LM,
        "model": model,
        "model_type": "chat",
        "cache": True,
        "num_retries": 3,
    }
    asked = {"temperature": None, "max_tokens": None, **plain(options)}
    return {**fixed, **asked, "finetuning_model": None, "launch_kwargs": {}, "train_kwargs": {}}


def _entry(
    name: str, step: Predict, data: Mapping[str, Any], file: str, names: Mapping[str, str] | None
) -> dict[str, Any]:
    wanted = _called(name, step, names)
    known = [key for key in data if key != "metadata"]
    for key in dict.fromkeys((wanted, name, f"{name}.predict")):
        if isinstance(entry := data.get(key), dict):
            return entry
    problem = f"it has no predictor for the step `{name}`; it has {listed(known)}.{near(wanted, known)}".rstrip(
        "."
    )
    raise ForeignFile(
        file, problem, f"Say which it is, --name {name}=PREDICTOR. Nothing was imported."
    )


def _read(
    name: str, step: Predict, entry: Mapping[str, Any], params: Mapping[str, Any], file: str
) -> dict[str, Any]:
    try:
        signature = entry["signature"]
        instruction, found = str(signature["instructions"]), list(signature["fields"])
        demos = [dict(demo) for demo in entry.get("demos", [])]
        lm = entry["lm"]
    except (KeyError, TypeError, ValueError) as error:
        raise ForeignFile(file, f"the predictor `{name}` lacks {error}", _FIX) from None
    _check_fields(name, step, found, file)
    known = {field.name for field in _fields(step)}
    bare = [
        {key: held for key, held in demo.items() if key != "augmented" or key in known}
        for demo in demos
    ]
    read: dict[str, Any] = {f"{name}.instruction": instruction, f"{name}.demos": bare}
    if lm is not None:
        options = {key: lm[key] for key in sorted(_OPTIONS) if lm.get(key) is not None}
        read |= {f"{name}.model": str(lm.get("model", "")), f"{name}.options": options}
    elif params[f"{name}.model"]:
        read |= {f"{name}.model": ""}
    try:
        return dict(Record(read))
    except LmflowError as error:
        raise ForeignFile(
            file, f"the predictor `{name}` holds what no version can ({error})", _FIX
        ) from None


def _check_fields(name: str, step: Predict, found: list[Any], file: str) -> None:
    here = [field.name for field in _fields(step)]
    named = [
        field.get("name", there)
        for field, there in zip(found, here, strict=False)
        if isinstance(field, dict)
    ]
    if len(found) != len(here) or named != here:
        told = f"{len(found)} fields" if len(found) != len(here) else f"the fields {listed(named)}"
        problem = f"the predictor for `{name}` has {told}, the step has {len(here)}: {listed(here)}"
        raise ForeignFile(file, problem, _FIX)


def _own(program: Program, data: Mapping[str, Any], file: str) -> Version | None:
    """The version that was exported, where the file says which, it is whole and fits the program."""
    try:
        kept = data["metadata"].get("lmflow")
    except (KeyError, AttributeError):
        raise ForeignFile(file, "it has no `metadata`, so DSPy didn't save it", _FIX) from None
    if kept is None:
        return None
    try:
        version = version_of(kept)
        found = version.id
    except (LmflowError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ForeignFile(file, f"its metadata.lmflow is no version ({error})", _FIX) from None
    if found != kept.get("id"):
        problem = f"its metadata.lmflow says {short(str(kept.get('id')))} and hashes to {short(found)}: it was changed"
        raise ForeignFile(file, problem, "Remove metadata.lmflow to import it without its lineage.")
    return version if set(version.params) <= set(program.paths) else None
