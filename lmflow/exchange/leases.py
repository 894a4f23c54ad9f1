"""Leases of the parts of a run, by which workers share it, and the store that keeps them."""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen
class Lease:
    """The right to execute a part of a run, for a while.

    Attributes:
        job: The id of the run.
        part: The number of the part, from 1; 0 is the right to drive the run.
        epoch: How often the part has been leased. What is settled under an earlier one is refused.
        owner: The worker.
        calls: The calls that it may send, ``None`` without a limit.
        runs: The ids of the runs in which the part was executed so far, the latest last.
    """

    job: str
    part: int
    epoch: int
    owner: str
    calls: int | None = None
    runs: tuple[str, ...] = ()


@attrs.frozen
class JobState:
    """How far a run is that workers share.

    Attributes:
        done: The parts that are settled.
        held: The parts that a worker holds, and whose time isn't over.
        waiting: The parts that nobody holds, or whose worker was lost.
        calls: The calls that are spent or given to workers.
        budget: The calls that may be spent, ``None`` without a limit.
        driver: The process that drives the run now, empty if none does.
        closed: Whether the run came to its end.
        runs: The run in which each settled part was executed, in the order of the parts.
    """

    done: int
    held: int
    waiting: int
    calls: int
    budget: int | None
    driver: str
    closed: bool
    runs: tuple[str, ...]

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left of the budget for the parts that wait."""
        return self.budget is not None and self.calls >= self.budget


class Leases(Protocol):
    """The leases that a store keeps. Each method is one transaction."""

    def open_job(self, job: str, parts: int, calls: int | None) -> None:
        """Let workers take the parts of a run, with a budget; one that is open gets the budget."""
        ...

    def jobs(self, *, closed: bool = False) -> list[str]:
        """Return the ids of the runs that are open, or of all, the latest first."""
        ...

    def state(self, job: str) -> JobState:
        """Return how far a run is. ``NotFound`` if workers never shared it."""
        ...

    def drive(self, job: str, owner: str, seconds: float) -> Lease | None:
        """Take the right to drive a run, ``None`` if another process has it."""
        ...

    def take(self, job: str, owner: str, seconds: float) -> Lease | None:
        """Take a part that waits, with a slice of the budget; ``None`` if there is none, or
        nothing is left of the budget.
        """
        ...

    def begin(self, lease: Lease, run: str) -> bool:
        """Note the run in which a part is executed; ``False`` if the lease was lost."""
        ...

    def beat(self, lease: Lease, seconds: float) -> bool:
        """Hold a lease for longer; ``False`` if it was lost."""
        ...

    def settle(self, lease: Lease, calls: int) -> bool:
        """Settle a part by the latest run of the lease, with the calls that all its runs sent.

        Returns:
            ``False`` if the lease was lost: the part is somebody else's, and nothing is changed.
        """
        ...

    def give_back(self, lease: Lease, calls: int) -> bool:
        """Give a part back that isn't finished, so that another worker goes on with it."""
        ...
