"""Parameters of programs: the defaults, and a version's completed by them."""

from __future__ import annotations

from lmflow.programs.decisions import check_decisions, known_paths
from lmflow.programs.program import Program, check_programs
from lmflow.values.record import Record
from lmflow.versions.version import Version, check_paths


def init(program: Program) -> Version:
    """Make the first version of a program's parameters: its defaults.

    Args:
        program: Any program.

    Returns:
        A version without parents.

    Raises:
        TypeError: ``program`` isn't a program.
    """
    check_programs(program)
    return program.initial


def complete_params(program: Program, version: Version | None) -> Record:
    """Complete a version's parameters with the program's defaults for the paths that it lacks.

    Raises ``ForeignPaths`` if the version has paths that the program lacks, ``BadParameter`` if it
    has a threshold or weights by which no step can choose, or descriptions of outputs that no step
    has.
    """
    if version is None:
        return program.defaults
    fix = 'Was a step renamed? `lf.migrate(version, rename={"old": "new"})`.'
    check_paths(str(program), version.params, known_paths(program), fix)
    check_decisions(program, version.params)
    return program.defaults | version.params
