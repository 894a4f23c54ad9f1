"""Instructions as what is searched: changing them, asking proposers for them, keeping a scored
history of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence

import attrs

from lmflow.optimizers.parts.demos import DemoSet
from lmflow.optimizers.parts.plan import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.scoring import Best
from lmflow.programs.program import Predict, Program, completed, init
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, pretty
from lmflow.versions.diff import diff
from lmflow.versions.version import Version

LONGEST = 2000
"""Characters of an example or a report that a proposer reads."""

_LONGEST_INSTRUCTION = 20_000


@attrs.frozen
class Proposal:
    """An instruction, the proposer's rollout that gave it and the key of the call that did (both
    empty for the one that was there).
    """

    text: str
    rollout: str = ""
    key: str = ""


@attrs.frozen
class Proposers:
    """The proposer programs' versions; a model name puts them on another model than the program's
    own, ``max_tokens`` above 0 bounds what each writes.
    """

    model: str = ""
    max_tokens: int = 0

    def asked(
        self, proposer: Predict, inputs: Mapping[str, object], sample: int = 0
    ) -> PlannedRollout:
        """The rollout that asks a proposer."""
        version = init(proposer)
        if self.model:
            version = version.put({f"{proposer.name}.model": self.model}, note="another model")
        if self.max_tokens:
            options = {**version.params[f"{proposer.name}.options"], "max_tokens": self.max_tokens}
            version = version.put({f"{proposer.name}.options": options}, note="shorter")
        return PlannedRollout(proposer, version, Record(inputs), sample)


def instruction(program: Program, version: Version, step: str) -> str:
    """The step's instruction under a version."""
    return str(completed(program, version)[f"{step}.instruction"])


def with_instructions(version: Version, chosen: Mapping[str, Proposal], note: str) -> Version:
    """A child version with these instructions, each with the rollout that proposed it; itself where
    nothing changes.
    """
    paths = {f"{step}.instruction": it for step, it in chosen.items()}
    changed = {path: it for path, it in paths.items() if version.params.get(path) != it.text}
    if not changed:
        return version
    origin = {
        path: {"proposal": it.rollout, "key": it.key} for path, it in changed.items() if it.rollout
    }
    return version.put({path: it.text for path, it in changed.items()}, note=note, origin=origin)


def assembled(start: Version, texts: Mapping[str, Proposal], demos: DemoSet, note: str) -> Version:
    """A child of the start version with these instructions and demonstrations; itself where nothing
    changes.
    """
    wanted = with_instructions(start, texts, note)
    changes = {
        f"{step}.demos": tuple(demo.record for demo in found) for step, found in demos.items()
    }
    origin = {
        f"{step}.demos": tuple(demo.origin for demo in found) for step, found in demos.items()
    }
    if not changes:
        return wanted
    return start.put(
        {**_changed(start, wanted), **changes}, note=note, origin={**wanted.origin, **origin}
    )


def proposed(
    rollouts: Iterable[PlannedRollout], label: str, best: Best
) -> Generator[Need, tuple[Trace, ...], tuple[Proposal, ...]]:
    """What proposers answer, in order, without what failed, is empty or was said before."""
    asked = tuple(rollouts)
    traces = yield need_rollouts(label, asked, best.version, score=best.score, phase="propose")
    found: dict[str, Proposal] = {}
    for rollout, trace in zip(asked, traces, strict=True):
        if it := proposal_of(rollout, trace):
            found.setdefault(it.text, it)
    return tuple(found.values())


def proposal_of(rollout: PlannedRollout, trace: Trace) -> Proposal | None:
    """What a proposer's rollout proposes, ``None`` where it failed, is empty or only repeats what
    it was told: small models do, their tip above all.
    """
    text = _clean(trace)
    if text in map(_stripped, rollout.example.values()):
        return None
    keys = [call.key for call in trace.answers.values()]
    return Proposal(text, rollout.key, keys[-1] if keys else "") if text else None


@attrs.frozen
class Tried:
    """An instruction with the best score that the whole program got with it."""

    proposal: Proposal
    score: float


def attempts(tried: Sequence[Tried], most: int) -> list[str]:
    """The best attempts as a proposer reads them, worst first."""
    best = sorted(tried, key=lambda it: it.score)[-most:]
    return [f"score {100 * it.score:.0f}: {it.proposal.text}" for it in best]


def shown(examples: Iterable[Mapping[str, object]]) -> list[str]:
    """Examples as a proposer reads them: one line of JSON each, without ids."""
    return [
        pretty({name: value for name, value in example.items() if name != "id"})[:LONGEST]
        for example in examples
    ]


def task_of(program: Program) -> str:
    """What a step or a program reads and gives, as a proposer reads it."""
    return f"{program}: {program.signature}"


def _changed(start: Version, version: Version) -> dict[str, object]:
    return {change.path: change.after for change in diff(start, version)}


def _clean(trace: Trace) -> str:
    if trace.outputs is None:
        return ""
    return _stripped(next(iter(trace.outputs.values())))[:_LONGEST_INSTRUCTION]


def _stripped(value: object) -> str:
    return str(value).strip("\"'` \n")
