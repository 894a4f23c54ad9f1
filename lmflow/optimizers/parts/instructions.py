"""Instructions as the thing that is searched: changing them, having proposers write them, and
keeping a scored history of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence

import attrs

from lmflow.optimizers.parts.demos import DemoSet, demo_origins, records_of
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.scoring import Best
from lmflow.programs.parameters import complete_params, init
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, pretty
from lmflow.versions.diff import diff
from lmflow.versions.version import Version

LONGEST_TEXT = 2000
"""Characters of an example or a report that a proposer reads."""

_LONGEST_INSTRUCTION = 20_000


@attrs.frozen
class Proposal:
    """An instruction, with the proposer's rollout and the key of the call that wrote it; both are
    empty for an instruction that was there before.
    """

    text: str
    rollout: str = ""
    key: str = ""


@attrs.frozen
class Proposers:
    """The settings of proposer programs.

    ``model`` names another model than the program's own; ``max_tokens`` above 0 bounds the length
    of what each writes.
    """

    model: str = ""
    max_tokens: int = 0

    def rollout(
        self, proposer: Predict, inputs: Mapping[str, object], sample: int = 0
    ) -> PlannedRollout:
        """Plan a run of a proposer on inputs."""
        version = init(proposer)
        if self.model:
            version = version.put({f"{proposer.name}.model": self.model}, note="another model")
        if self.max_tokens:
            options = {**version.params[f"{proposer.name}.options"], "max_tokens": self.max_tokens}
            version = version.put({f"{proposer.name}.options": options}, note="shorter")
        return PlannedRollout(proposer, version, Record(inputs), sample)


def instruction_of(program: Program, version: Version, step: str) -> str:
    """Return the step's instruction under a version."""
    return str(complete_params(program, version)[f"{step}.instruction"])


def with_instructions(version: Version, chosen: Mapping[str, Proposal], note: str) -> Version:
    """Make a child version with these instructions, each with the rollout that proposed it; return
    the version itself if nothing changes.
    """
    proposals = {f"{step}.instruction": proposal for step, proposal in chosen.items()}
    changed = {
        path: proposal
        for path, proposal in proposals.items()
        if version.params.get(path) != proposal.text
    }
    if not changed:
        return version
    texts = {path: proposal.text for path, proposal in changed.items()}
    origin = {
        path: {"proposal": proposal.rollout, "key": proposal.key}
        for path, proposal in changed.items()
        if proposal.rollout
    }
    return version.put(texts, note=note, origin=origin)


def assemble(start: Version, texts: Mapping[str, Proposal], demos: DemoSet, note: str) -> Version:
    """Make a child of the start version with these instructions and demonstrations; return the
    start itself if nothing changes.
    """
    instructed = with_instructions(start, texts, note)
    if not demos:
        return instructed
    changes = {change.path: change.after for change in diff(start, instructed)}
    changes |= {f"{step}.demos": records_of(chosen) for step, chosen in demos.items()}
    return start.put(changes, note=note, origin={**instructed.origin, **demo_origins(demos)})


def propose(
    rollouts: Iterable[PlannedRollout], label: str, best: Best
) -> Generator[Need, tuple[Trace, ...], tuple[Proposal, ...]]:
    """Run proposers; return their proposals in order, without failed, empty and repeated ones."""
    batch = tuple(rollouts)
    traces = yield need_rollouts(label, batch, best.version, score=best.score, phase="propose")
    by_text: dict[str, Proposal] = {}
    for rollout, trace in zip(batch, traces, strict=True):
        if proposal := proposal_of(rollout, trace):
            by_text.setdefault(proposal.text, proposal)
    return tuple(by_text.values())


def proposal_of(rollout: PlannedRollout, trace: Trace) -> Proposal | None:
    """Return the proposal of a proposer's run; ``None`` if the run failed, is empty or only repeats
    one of its inputs: small models do that, with their tip above all.
    """
    text = _proposed_text(trace)
    if not text or text in map(_stripped, rollout.example.values()):
        return None
    keys = [call.key for call in trace.answers.values()]
    return Proposal(text, rollout.key, keys[-1] if keys else "")


@attrs.frozen
class ScoredProposal:
    """An instruction with the best score that the whole program reached with it."""

    proposal: Proposal
    score: float


def describe_attempts(attempts: Sequence[ScoredProposal], most: int) -> list[str]:
    """Describe the best attempts for a proposer, the worst of them first."""
    best = sorted(attempts, key=lambda attempt: attempt.score)[-most:]
    return [f"score {100 * attempt.score:.0f}: {attempt.proposal.text}" for attempt in best]


def describe_examples(examples: Iterable[Mapping[str, object]]) -> list[str]:
    """Describe examples for a proposer: one line of JSON each, without ids."""
    return [
        pretty({name: value for name, value in example.items() if name != "id"})[:LONGEST_TEXT]
        for example in examples
    ]


def describe_task(program: Program) -> str:
    """Describe for a proposer what a step or a program reads and gives."""
    return f"{program}: {program.signature}"


def _proposed_text(trace: Trace) -> str:
    if trace.outputs is None:
        return ""
    return _stripped(next(iter(trace.outputs.values())))[:_LONGEST_INSTRUCTION]


def _stripped(value: object) -> str:
    return str(value).strip("\"'` \n")
