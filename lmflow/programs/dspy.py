"""Versions as the JSON of a program's state that DSPy saves, and back.

DSPy's ``fields`` are positional and carry neither names nor types (dspy/signatures/signature.py,
``dump_state``). An exported file holds what DSPy ignores too, field names and the version itself in
``metadata``, so that its import has the version's id.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lmflow.errors import BadMedia, ForeignFile, LmflowError, listed, near, short
from lmflow.programs.dspy_state import FIX, fields_of_step, is_agent_step, is_old, read_predictor
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict, Program
from lmflow.signatures.fields import Field
from lmflow.values.media import media_in
from lmflow.values.record import Record, canonical, plain
from lmflow.versions.version import Version, version_of

LM = "dspy.clients.lm.LM"


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
    if not isinstance(data, Mapping):
        raise ForeignFile(file, "it is no JSON object, so DSPy didn't save it", FIX)
    own, steps = _exported_version(program, data, file), program.predictors
    metadata = data.get("metadata", {})
    if len(steps) == 1 and ("signature" in data or is_old(data)):  # a bare predictor has no path
        data = {next(iter(steps)): data}
    elif len(steps) == 1 and not names and (only := _only_entry(data)) is not None:
        data = {next(iter(steps)): only}
    params: dict[str, Any] = dict(complete_params(program, own))
    omissions: list[str] = []
    for name, step in steps.items():
        paths = _paths(name, step, program, names)
        path, entry = _predictor_entry(name, paths, data, file)
        state = read_predictor(name, step, entry, file, of_agent=paths[path])
        if f"{name}.model" not in state.params and params[f"{name}.model"]:
            params[f"{name}.model"] = ""
        params |= state.params
        omissions += state.omissions
    if own is not None and _same_params(own, params):
        return own
    note = _note(metadata, omissions)
    return Version(params=Record(params), parents=(own.id,) if own else (), note=note)


def _note(metadata: Mapping[str, Any], omissions: list[str]) -> str:
    """The note of an imported version: DSPy's version, and what was left out."""
    versions = metadata.get("dependency_versions")
    dspy_version = versions.get("dspy", "") if isinstance(versions, Mapping) else ""
    note = f"imported from DSPy {dspy_version}".strip()
    return f"{note}; left out: {', '.join(omissions)}" if omissions else note


def _dspy_path(name: str, step: Predict, names: Mapping[str, str] | None) -> str:
    if names and name in names:
        return names[name]
    first = step.signature.outputs[0].name
    return f"{name}.predict" if first == "reasoning" and len(step.signature.outputs) > 1 else name


def _same_params(version: Version, params: Mapping[str, Any]) -> bool:
    return all(
        canonical(value) == canonical(params[path]) for path, value in version.params.items()
    )


def _predictor_state(name: str, step: Predict, params: Record, version: Version) -> dict[str, Any]:
    if media := next(media_in(params[f"{name}.demos"]), None):
        problem = f"{name}.demos holds {media}"
        raise BadMedia("state of DSPy", problem, "Export the version as JSON.")
    demos = [plain(demo) for demo in params[f"{name}.demos"]]
    if f"{name}.demos" in version.origin:  # DSPy marks demonstrations that an optimizer made
        demos = [demo | {"augmented": True} for demo in demos]
    fields = [_field_state(field) for field in fields_of_step(step)]
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
    name: str, paths: Iterable[str], data: Mapping[str, Any], file: str
) -> tuple[str, Mapping[str, Any]]:
    """The first of a step's paths in DSPy that a file has, with its predictor."""
    for path in paths:
        entry = data.get(path)
        if isinstance(entry, Mapping):
            return path, entry
    others = [str(key) for key in data if key != "metadata"]
    problem = f"it has no predictor for the step `{name}`; it has {listed(others)}."
    problem = f"{problem}{near(next(iter(paths)), others)}".rstrip(".")
    raise ForeignFile(
        file, problem, f"Say which it is, --name {name}=PREDICTOR. Nothing was imported."
    )


def _only_entry(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The predictor of a file that has one, whatever its path; ``None`` if it has none or more."""
    entries = [entry for key, entry in data.items() if key != "metadata"]
    only = entries[0] if len(entries) == 1 else None
    return only if isinstance(only, Mapping) and ("signature" in only or is_old(only)) else None


def _paths(
    name: str, step: Predict, program: Program, names: Mapping[str, str] | None
) -> dict[str, bool]:
    """The paths that DSPy may have for a step, and whether each is a predictor of ``ReAct``."""
    own = (_dspy_path(name, step, names), name, f"{name}.predict")
    paths = dict.fromkeys(own, False)
    agent, _, last = name.rpartition(".")
    steps = program.predictors
    agents = [key for key, other in steps.items() if is_agent_step(other)]
    if f"{agent}.act" not in agents:
        return paths
    parts = ("react",) if last == "act" else ("extract.predict", "extract")
    prefixes = [f"{agent}.", ""] if len(agents) == 1 else [f"{agent}."]
    return paths | {f"{prefix}{part}": True for prefix in prefixes for part in parts}


def _exported_version(program: Program, data: Mapping[str, Any], file: str) -> Version | None:
    """The exported version in a file, ``None`` if there is none or it doesn't fit the program.

    ``ForeignFile`` if DSPy didn't save the file, or the version in it was changed.
    """
    metadata = data.get("metadata")
    if metadata is None and (is_old(data) or any(map(is_old, data.values()))):
        return None  # DSPy 2.4 wrote no metadata
    if not isinstance(metadata, Mapping):
        raise ForeignFile(file, "it has no `metadata`, so DSPy didn't save it", FIX)
    exported = metadata.get("lmflow")
    if exported is None:
        return None
    try:
        version = version_of(exported)
        version_id = version.id
    except (
        LmflowError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise ForeignFile(
            file, f"its metadata.lmflow is no version ({error!s:.200})", FIX
        ) from None
    if version_id != exported.get("id"):
        written = short(str(exported.get("id")))
        problem = (
            f"its metadata.lmflow says {written} and hashes to {short(version_id)}: it was changed"
        )
        raise ForeignFile(file, problem, "Remove metadata.lmflow to import it without its lineage.")
    return version if set(version.params) <= set(program.paths) else None
