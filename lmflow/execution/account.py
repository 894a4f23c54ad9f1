"""An account: a budget while it is being spent, with its reservations and the calls that wait."""

from __future__ import annotations

import asyncio

from lmflow.errors import BudgetExceeded
from lmflow.execution.budget import NOTHING, Budget, Ledger, Left, Spent


class Account:
    """Reserves the worst case of each call in a budget and in the budgets above it.

    A call whose worst case does not fit now, but may fit once open calls have settled for less,
    waits. A call that cannot fit is refused, and every later call with it.
    """

    def __init__(
        self, budget: Budget | None = None, spent: Spent = NOTHING, parent: Account | None = None
    ) -> None:
        self.ledger = Ledger(budget or Budget(), spent)
        self.chain: tuple[Account, ...] = (self, *(parent.chain if parent is not None else ()))
        self.bounded = tuple(account for account in self.chain if account.ledger.budget.limited)
        """The accounts of the chain that set a limit, and so may refuse a call."""
        self.priced = any(account.ledger.budget.usd is not None for account in self.bounded)
        """Whether the price of each call must be known."""
        self.measured = any(account.ledger.budget.measured for account in self.bounded)
        """Whether the worst case of each call must be known."""
        self._waiters: list[asyncio.Future[None]] = []
        self._refusal: tuple[Account, Spent] | None = None

    @property
    def left(self) -> Left:
        """The part of the budget that is not spent."""
        return self.ledger.budget.left(self.ledger.spent)

    # The worst case is reserved before a call is sent and settled after it: two calls that are open
    # at once could otherwise each fit alone and pass the limit together. A refusal is for good,
    # since a cheaper call slipping in after it would make the outcome depend on timing.
    async def reserve(self, worst: Spent) -> None:
        """Reserve the worst case of a call here and above. Raises ``BudgetExceeded`` if the call
        cannot fit, or if a call was refused before.
        """
        while (full := self._full_account(worst)) is not None:
            if self._refusal or not full.ledger.may_fit(worst):
                self._refusal = self._refusal or (full, worst)
                self.wake()
                raise self.refusal()
            await full.changed()
        for account in self.bounded:
            account.ledger = account.ledger.reserving(worst)

    def refusal(self) -> BudgetExceeded:
        """Return the error of the call that was refused, with what is spent and left by now."""
        assert self._refusal is not None  # noqa: S101 - only called after a refusal
        account, worst = self._refusal
        return account.ledger.refusal(worst)

    def settle(self, worst: Spent, actual: Spent) -> None:
        """Release the reservation of a call and count what the call cost."""
        for account in self.chain:
            released = worst if account.ledger.budget.limited else NOTHING
            account.ledger = account.ledger.settling(released, actual)
            account.wake()

    def changed(self) -> asyncio.Future[None]:
        """Return a future that is done when the account next changes."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def wake(self) -> None:
        """Let the calls that wait for room look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _full_account(self, worst: Spent) -> Account | None:
        if self._refusal:
            return self
        return next((account for account in self.bounded if not account.ledger.fits(worst)), None)
