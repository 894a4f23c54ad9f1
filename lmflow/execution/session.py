"""A session: connections with the account, time limit and target of the runs made in it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import attrs

from lmflow.errors import check_kind
from lmflow.execution.account import Account
from lmflow.execution.budget import NOTHING, Budget, Spent
from lmflow.execution.connections import Connections
from lmflow.execution.prepared_rollout import PreparedRollout, model_places, prepare
from lmflow.execution.rollout import Rollout, new_id, planned_executions
from lmflow.messages.replies import Usage
from lmflow.programs.effects import Pending
from lmflow.programs.flow import walk
from lmflow.programs.parameters import complete_params, init
from lmflow.programs.program import Program
from lmflow.programs.tool import check_tools
from lmflow.replays.reuse import NO_ANSWERS
from lmflow.traces.store import Recorder
from lmflow.traces.trace import Run, RunKind
from lmflow.values.record import Record
from lmflow.versions.version import Version

EMPTY = Record()
BUDGET_FIX = "Say of what: lf.Budget(calls=100), lf.Budget(usd=1)."
VERSION_FIX = "Inputs are given by name: ex.run(program, question=...)."


@attrs.frozen(eq=False)
class Session:
    """Everything that a run needs of its executor.

    Attributes:
        connections: Models, HTTP, threads and the recorder; shared by all sessions of an executor.
        account: The budget that calls are reserved in, with the accounts above it.
        timeout: The seconds that each execution may take.
        target: The ``module:program`` that runs name, so that the CLI can load it again.
    """

    connections: Connections
    account: Account
    timeout: float | None = None
    target: str = ""

    @property
    def recorder(self) -> Recorder:
        """The store, or what stands in for it."""
        return self.connections.recorder

    def within(
        self,
        budget: Budget | None = None,
        spent: Spent = NOTHING,
        *,
        timeout: float | None = None,
        target: str | None = None,
    ) -> Session:
        """Return a session with an account of its own inside this one's, and other limits if they
        are given. ``spent`` counts as spent from the start.
        """
        if budget is not None:
            check_kind("a budget", budget, Budget, BUDGET_FIX)
        return Session(
            self.connections,
            Account(budget, spent, self.account),
            self.timeout if timeout is None else timeout,
            self.target if target is None else target,
        )

    def bounded(self, budget: Budget | None) -> Session:
        """Return a session within a budget; this one if there is none."""
        return self if budget is None else self.within(budget)

    def version(self, version: Version | str | None) -> Version | None:
        """Read a version from the store if it is named; a ``Version`` is returned as it is."""
        if version is None:
            return None
        if isinstance(version, str):
            return self.recorder.version(version)
        check_kind("a version", version, Version, VERSION_FIX)
        return version

    def root_version(self, version: Version | str | None) -> Version | None:
        """Return the root ancestor of a version that is named by ref or id. A ``Version`` passed
        by value counts as its own root.
        """
        return self.recorder.first(version) if isinstance(version, str) else version

    def model_places(self, program: Program) -> Callable[[Version], Record]:
        """Return a function that maps the model names in a version to resolved models and their
        endpoint classes. It works each version out once.
        """

        def places_of(version: Version) -> Record:
            return model_places(self.connections, complete_params(program, version))

        return functools.cache(places_of)

    def new_run(
        self,
        kind: RunKind,
        name: str,
        rollouts: Iterable[Rollout],
        of: str = "",
        config: Record = EMPTY,
    ) -> Run:
        """Make the open run of rollouts; nothing is recorded yet."""
        waits = self.connections.models.wait_for_waves  # who resumes it must wait too
        return Run(
            new_id(self.connections.random),
            kind,
            name,
            target=self.target,
            started=time.time_ns(),
            of=of,
            wanted=planned_executions(rollouts),
            config=Record({**config, "waves": True}) if waits else config,
        )

    def with_answers(self, rollouts: Sequence[Rollout]) -> Sequence[Rollout]:
        """Give rollouts the answers of the executor's recording, if it has one."""
        answers = self.connections.answers
        if answers is None:
            return rollouts
        return [answers.rollout(rollout) for rollout in rollouts]

    # Rollouts of one program and version share what is prepared: checking parameters and resolving
    # models anew for each of a thousand examples would cost more than driving them.
    def preparing(self) -> Callable[[Rollout], PreparedRollout]:
        """Return a function that prepares rollouts at the expense of this session's account.

        It raises, before anything is sent, the error of a tool that can't run here, such as
        ``SandboxUnavailable``, and ``ModelUnavailable`` for a model that a part of a program names.
        Rollouts that reuse a recording may need neither, so they aren't checked.
        """
        checked: set[Program] = set()
        prepared: dict[tuple[Program, Version], PreparedRollout] = {}
        latest: PreparedRollout | None = None

        def prepare_one(rollout: Rollout) -> PreparedRollout:
            nonlocal latest
            program = rollout.program
            if rollout.reuse is NO_ANSWERS and program not in checked:
                checked.add(program)
                check_tools(program)
                self.connections.waves.expect(len(program.predictors))
                for part in walk(program):
                    self.connections.models.places(part.named_models)
            if latest and latest.program is program and latest.version is rollout.version:
                return latest
            key = program, rollout.version
            if key not in prepared:
                prepared[key] = prepare(
                    self.connections,
                    self.account,
                    rollout,
                    target=self.target,
                    timeout=self.timeout,
                )
            latest = prepared[key]
            return latest

        return prepare_one

    def world(self, program: Program, version: Version | str | None = None) -> Record:
        """Return the world that a program would run in; see ``Executor.world``."""
        params = self.version(version) or init(program)
        rollout = Rollout(Pending(program, Record()), params, first=self.root_version(version))
        world = prepare(self.connections, self.account, rollout).world
        # Looking up a price reads the price table; done here, no run waits for it.
        for place in world["models"].values():
            self.connections.prices(place["model"], Usage(), time.time_ns())
        return world


class HasSession(Protocol):
    """An executor, as those of its methods see it that are defined in files of their own."""

    @property
    def _session(self) -> Session: ...
