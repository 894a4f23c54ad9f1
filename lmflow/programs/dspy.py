"""Versions as the JSON of a program's state that DSPy 3 saves, and back.

DSPy's ``fields`` are positional and carry neither names nor types (dspy/signatures/signature.py,
``dump_state``). An exported file holds what DSPy ignores too, field names and the version itself in
``metadata``, so that its import has the version's id.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from typing import Any

import toolz

from lmflow.errors import BadMedia, ForeignFile, LmflowError, listed, near, short
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict, Program
from lmflow.signatures.fields import Field
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
    """Write a version as the state that DSPy saves of the same program.

    A step's path is its name, or ``STEP.predict`` if it reasons first, as DSPy's ``ChainOfThought``
    does; ``names`` overrides it. ``metadata`` holds the version itself and its ancestors.

    Args:
        program: The program of the version.
        version: The version to export.
        lineage: The ids of the version's ancestors.
        names: Step -> path of DSPy's predictor.

    Returns:
        The state as JSON values, one entry per predictor, in program order.

    Raises:
        BadMedia: A demonstration holds a picture, sound or file.
        ForeignPaths: The version has paths that the program lacks.
    """
    params = complete_params(program, version)
    state = {
        _dspy_path(name, step, names): _predictor_state(name, step, params, version)
        for name, step in program.predictors.items()
    }
    own: dict[str, Any] = {"id": version.id, "lineage": list(lineage), **plain(version.to_json())}
    needed = {"python": ".".join(platform.python_version_tuple()[:2])}
    return {**state, "metadata": {"dependency_versions": needed, "lmflow": own}}


def from_dspy(
    program: Program, data: Mapping[str, Any], file: str, names: Mapping[str, str] | None = None
) -> Version:
    """Read the version of a program from the state that DSPy saved.

    An exported file that wasn't changed gives the exported version, with its id.

    Args:
        program: The program that the state was saved from.
        data: The state as JSON values.
        file: The name of the file, for errors.
        names: Step -> path of DSPy's predictor.

    Returns:
        The version.

    Raises:
        ForeignFile: A predictor is missing or has other fields, which DSPy itself would mix up, or
            the file isn't a state.
    """
    own, steps = _exported_version(program, data, file), program.predictors
    if len(steps) == 1 and "signature" in data:  # a bare predictor is saved without a path
        data = {next(iter(steps)): data, "metadata": data["metadata"]}
    params: dict[str, Any] = dict(complete_params(program, own))
    for name, step in steps.items():
        entry = _predictor_entry(name, step, data, file, names)
        params |= _read_predictor(name, step, entry, params, file)
    if own is not None and _same_params(own, params):
        return own
    dspy_version = data.get("metadata", {}).get("dependency_versions", {}).get("dspy", "")
    note = f"imported from DSPy {dspy_version}".strip()
    return Version(params=Record(params), parents=(own.id,) if own else (), note=note)


def _dspy_path(name: str, step: Predict, names: Mapping[str, str] | None) -> str:
    if names and name in names:
        return names[name]
    first = step.signature.outputs[0].name
    return f"{name}.predict" if first == "reasoning" and len(step.signature.outputs) > 1 else name


def _same_params(version: Version, params: Mapping[str, Any]) -> bool:
    return all(
        canonical(value) == canonical(params[path]) for path, value in version.params.items()
    )


def _fields(step: Predict) -> tuple[Field, ...]:
    return (*step.signature.inputs, *step.signature.outputs)


def _predictor_state(name: str, step: Predict, params: Record, version: Version) -> dict[str, Any]:
    if media := next(media_in(params[f"{name}.demos"]), None):
        problem = f"{name}.demos holds {media}"
        raise BadMedia("state of DSPy", problem, "Export the version as JSON.")
    demos = [plain(demo) for demo in params[f"{name}.demos"]]
    if f"{name}.demos" in version.origin:  # DSPy marks demonstrations that an optimizer made
        demos = [demo | {"augmented": True} for demo in demos]
    fields = [_field_state(field) for field in _fields(step)]
    return {
        "traces": [],
        "train": [],
        "demos": demos,
        "signature": {"instructions": params[f"{name}.instruction"], "fields": fields},
        "lm": _lm_state(params[f"{name}.model"], params[f"{name}.options"]),
    }


def _field_state(field: Field) -> dict[str, str]:
    description = field.description or f"${{{field.name}}}"
    return {"prefix": f"{_title(field.name)}:", "description": description, "name": field.name}


def _title(name: str) -> str:
    """The title that DSPy writes before a field."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[a-zA-Z])", " ", name.replace("_", " "))
    return " ".join(map(_capitalized, spaced.split()))


def _capitalized(word: str) -> str:
    return word if word.isupper() else word.capitalize()


def _lm_state(model: str, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state of DSPy's LM, ``None`` for the model that the program is run with."""
    if not model:
        return None
    fixed = {
        "_dspy_lm_class": LM,
        "model": model,
        "model_type": "chat",
        "cache": True,
        "num_retries": 3,
    }
    decoding = {"temperature": None, "max_tokens": None, **plain(options)}
    return {**fixed, **decoding, "finetuning_model": None, "launch_kwargs": {}, "train_kwargs": {}}


def _predictor_entry(
    name: str, step: Predict, data: Mapping[str, Any], file: str, names: Mapping[str, str] | None
) -> dict[str, Any]:
    path = _dspy_path(name, step, names)
    for key in dict.fromkeys((path, name, f"{name}.predict")):
        entry = data.get(key)
        if isinstance(entry, dict):
            return entry
    others = [key for key in data if key != "metadata"]
    problem = f"it has no predictor for the step `{name}`; it has {listed(others)}."
    problem = f"{problem}{near(path, others)}".rstrip(".")
    raise ForeignFile(
        file, problem, f"Say which it is, --name {name}=PREDICTOR. Nothing was imported."
    )


def _read_predictor(
    name: str, step: Predict, entry: Mapping[str, Any], params: Mapping[str, Any], file: str
) -> dict[str, Any]:
    try:
        signature = entry["signature"]
        instruction, fields = str(signature["instructions"]), list(signature["fields"])
        demos = [dict(demo) for demo in entry.get("demos", [])]
        lm = entry["lm"]
    except (KeyError, TypeError, ValueError) as error:
        raise ForeignFile(file, f"the predictor `{name}` lacks {error}", _FIX) from None
    _check_fields(name, step, fields, file)
    if "augmented" not in {field.name for field in _fields(step)}:  # DSPy's mark, not a field
        demos = [toolz.dissoc(demo, "augmented") for demo in demos]
    read: dict[str, Any] = {f"{name}.instruction": instruction, f"{name}.demos": demos}
    if lm is not None:
        options = {key: lm[key] for key in sorted(_OPTIONS) if lm.get(key) is not None}
        read |= {f"{name}.model": str(lm.get("model", "")), f"{name}.options": options}
    elif params[f"{name}.model"]:
        read |= {f"{name}.model": ""}
    try:
        return dict(Record(read))
    except LmflowError as error:
        problem = f"the predictor `{name}` holds what no version can ({error})"
        raise ForeignFile(file, problem, _FIX) from None


def _check_fields(name: str, step: Predict, fields: list[Any], file: str) -> None:
    """Raise ``ForeignFile`` if a predictor's fields aren't those of the step, as far as is known.

    DSPy's own files don't name fields, so that only their number can be compared.
    """
    own = [field.name for field in _fields(step)]
    pairs = zip(fields, own, strict=False)
    names = [field.get("name", name) for field, name in pairs if isinstance(field, dict)]
    if len(fields) == len(own) and names == own:
        return
    difference = f"the fields {listed(names)}"
    if len(fields) != len(own):
        difference = f"{len(fields)} fields"
    problem = f"the predictor for `{name}` has {difference}, the step has {len(own)}: {listed(own)}"
    raise ForeignFile(file, problem, _FIX)


def _exported_version(program: Program, data: Mapping[str, Any], file: str) -> Version | None:
    """The exported version in a file, ``None`` if there is none or it doesn't fit the program.

    ``ForeignFile`` if DSPy didn't save the file, or the version in it was changed.
    """
    try:
        exported = data["metadata"].get("lmflow")
    except (KeyError, AttributeError):
        raise ForeignFile(file, "it has no `metadata`, so DSPy didn't save it", _FIX) from None
    if exported is None:
        return None
    try:
        version = version_of(exported)
        version_id = version.id
    except (LmflowError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ForeignFile(file, f"its metadata.lmflow is no version ({error})", _FIX) from None
    if version_id != exported.get("id"):
        written = short(str(exported.get("id")))
        problem = (
            f"its metadata.lmflow says {written} and hashes to {short(version_id)}: it was changed"
        )
        raise ForeignFile(file, problem, "Remove metadata.lmflow to import it without its lineage.")
    return version if set(version.params) <= set(program.paths) else None
