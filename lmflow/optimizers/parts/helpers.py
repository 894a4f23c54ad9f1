"""The programs and versions that an optimizer runs beside the program that it optimizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmflow.library.proposers import describer
from lmflow.programs.parameters import complete_params, init
from lmflow.programs.program import Program
from lmflow.versions.version import Version


def helper_executions(
    options: Mapping[str, Any], program: Program, start: Version
) -> Iterator[tuple[Program, Version]]:
    """Yield the proposer and the teacher that an optimizer's options name, each with the version
    that it runs under, so that their models can be looked up before anything runs.

    The shipped proposers differ in nothing that a model is looked up by, so one stands for all.
    """
    if "model" in options:
        proposer = options.get("proposer") or describer()
        yield proposer, _on_model(proposer, init(proposer), options["model"])
    teacher = options.get("teacher")
    if isinstance(teacher, Program):
        yield teacher, init(teacher)
    elif isinstance(teacher, Version):
        yield program, teacher
    elif isinstance(teacher, str):
        yield program, _on_model(program, start, teacher)


def _on_model(program: Program, version: Version, model: str) -> Version:
    if not model:
        return version
    models = {f"{step}.model": model for step in program.predictors}
    return Version(params=complete_params(program, version) | models, note=f"on {model}")
