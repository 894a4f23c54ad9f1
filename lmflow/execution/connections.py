"""What an executor holds of the outside: models, session, threads, the recorder, listeners, and
what is spent.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random

import attrs

from lmflow.adapters.registry import Choices, choices_of
from lmflow.errors import BudgetExceeded, LmflowError, ModelUnavailable
from lmflow.execution.budget import NOTHING, Budget, Ledger, Left, Prices, Spent
from lmflow.execution.events import Listener
from lmflow.models.base import Http, Model, place
from lmflow.models.registry import model as model_named
from lmflow.models.wrap import Routed
from lmflow.traces.events import Event
from lmflow.traces.redaction import Redactor
from lmflow.traces.store import Recorder
from lmflow.traces.trace import Run
from lmflow.values.record import Record


@attrs.frozen(eq=False)
class Connections:
    """Everything that calls pass on their way out, shared by all runs of an executor."""

    models: Models
    http: Http
    tools: ThreadPoolExecutor
    slots: asyncio.Semaphore
    recorder: Recorder
    prices: Prices
    redactor: Redactor | None = None
    adapters: Mapping[str, str] = attrs.field(factory=dict)
    random: Random = attrs.field(factory=Random)
    listeners: weakref.WeakSet[Listener] = attrs.field(factory=weakref.WeakSet)
    writing: BatchingWriter = attrs.field(
        default=attrs.Factory(lambda self: BatchingWriter(self.recorder), takes_self=True)
    )

    @property
    def choices(self) -> Choices:
        """Which adapters its models are asked in."""
        return choices_of(self.adapters, self.models.own)

    def send(self, *events: Event) -> WriteReceipt:
        """Record events, cleaned where there is a redactor, together with what else happens in this
        turn of the loop. Who needs them to be durable waits for what is returned.
        """
        if self.redactor is not None:
            events = tuple(map(self.redactor.event, events))
        if self.listeners:
            for listener in self.listeners:
                listener.hear(events)
        return self.writing.add(events)

    def root(self, run: Run) -> str:
        """The root that is stored of a run."""
        return run.root if self.redactor is None else self.redactor.root(run)

    async def kept(self, *events: Event) -> None:
        """Record events and wait until they are durable, with all that was sent before."""
        await self.send(*events).durable()

    def apart(self, *events: Event) -> WriteReceipt:
        """As ``send``, but kept or refused by themselves, after what was sent before: for what a
        store may refuse.
        """
        self.writing.flush()
        kept = self.send(*events)
        self.writing.flush()
        return kept


class WriteReceipt:
    """Events that are kept, or not, in one piece, and who waits for that."""

    __slots__ = ("_error", "_ready", "_waiting", "events")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._ready = False
        self._error: BaseException | None = None

    async def durable(self) -> None:
        """Wait until they are kept. ``StoreError`` where they can't be."""
        if not self._ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        if self._error is not None:
            raise self._error

    def settle(self, error: BaseException | None) -> None:
        """Let go those who wait."""
        self._ready, self._error = True, error
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()


class BatchingWriter:
    """Hands the recorder in one piece what happens in one turn of the loop, in order, and hears of
    it once.

    Each piece costs a lock, a queue's entry and a wake-up from another thread, so that one for each
    event would cost more than what is recorded.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._open: WriteReceipt | None = None
        self._settled: deque[tuple[WriteReceipt, BaseException | None]] = deque()
        self._woken = False

    def add(self, events: Iterable[Event]) -> WriteReceipt:
        """The piece that the events are in."""
        if self._open is None:
            self._open = WriteReceipt()
            asyncio.get_running_loop().call_soon(self.flush)
        self._open.events += events
        return self._open

    def flush(self) -> None:
        """Hand over what there is."""
        kept, self._open = self._open, None
        if kept is None:
            return
        try:
            future = self._recorder.append(*kept.events)
        except LmflowError as error:
            kept.settle(error)
            return
        if future.done():
            kept.settle(future.exception())
        else:
            loop = asyncio.get_running_loop()
            future.add_done_callback(lambda done: self._tell(loop, kept, done.exception()))

    def _tell(
        self, loop: asyncio.AbstractEventLoop, kept: WriteReceipt, error: BaseException | None
    ) -> None:
        """From the recorder's thread; the loop is woken once for all that is settled until it
        looks.
        """
        self._settled.append((kept, error))
        if not self._woken:
            self._woken = True
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = False
        while self._settled:
            kept, error = self._settled.popleft()
            kept.settle(error)


class Account:
    """A budget as it is spent: a call reserves its worst case, and waits while open ones may yet
    make room.
    """

    def __init__(
        self, budget: Budget | None = None, spent: Spent = NOTHING, parent: Account | None = None
    ) -> None:
        self.ledger = Ledger(budget or Budget(), spent)
        self.chain: tuple[Account, ...] = (self, *(parent.chain if parent is not None else ()))
        self.bounded = tuple(account for account in self.chain if account.ledger.budget.limited)
        """Those of the chain that refuse a call which doesn't fit."""
        self.priced = any(account.ledger.budget.usd is not None for account in self.bounded)
        """Whether the price of each call must be known."""
        self.measured = any(account.ledger.budget.measured for account in self.bounded)
        """Whether the worst case of each call must be known."""
        self._waiting: list[asyncio.Future[None]] = []
        self._refused: tuple[Account, Spent] | None = None

    @property
    def left(self) -> Left:
        """What the budget still allows."""
        return self.ledger.budget.left(self.ledger.spent)

    async def reserve(self, worst: Spent) -> None:
        """Reserve the worst case of a call here and above. ``BudgetExceeded`` where it can't fit;
        then nothing more does: a run is stopped as a whole.
        """
        while (full := self._full(worst)) is not None:
            if self._refused or not full.ledger.may_fit(worst):
                self._refused = self._refused or (full, worst)
                self.wake()
                raise self.refusal()
            await full.changed()
        for account in self.bounded:
            account.ledger = account.ledger.reserving(worst)

    def refusal(self) -> BudgetExceeded:
        """The error for the call that didn't fit, with what is spent and left by now."""
        assert self._refused is not None  # noqa: S101 - only asked for then
        account, worst = self._refused
        return account.ledger.refusal(worst)

    def settle(self, worst: Spent, actual: Spent) -> None:
        """Release what was reserved and count what was spent."""
        for account in self.chain:
            released = worst if account.ledger.budget.limited else NOTHING
            account.ledger = account.ledger.settling(released, actual)
            account.wake()

    def changed(self) -> asyncio.Future[None]:
        """Done at the next change."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    def wake(self) -> None:
        """Let those who wait look again."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    def _full(self, worst: Spent) -> Account | None:
        if self._refused:
            return self
        return next((account for account in self.bounded if not account.ledger.fits(worst)), None)


Stands = Callable[[str, Callable[[], Model]], Model]
"""What stands for the model of a name; the model itself is made where it is asked for."""


class Models:
    """The models that an executor was given or made by name, or what ``stands`` for them."""

    def __init__(self, default: str | Model | None, stands: Stands | None = None) -> None:
        self._default = default
        self._stands = stands
        self._made: dict[str, Model] = {}
        self._standing: dict[str, Model] = {}

    @property
    def own(self) -> str:
        """The name of the model that steps get which name none, empty where there is none."""
        return (
            self._default if isinstance(self._default, str) else getattr(self._default, "name", "")
        )

    def get(self, name: str) -> Model:
        """The model of that name, the default for none or its own name. ``ModelUnavailable`` where
        there is none.
        """
        if self._stands is None:
            return self._real(name)
        if name not in self._standing:
            self._standing[name] = self._stands(name, lambda: self._real(name))
        return self._standing[name]

    def _real(self, name: str) -> Model:
        if name == "" and self._default is None:
            fix = 'Give the executor one, lf.Executor("openai/gpt-5-mini"), or the step, model=...'
            raise ModelUnavailable("the default", "no model was given", fix)
        if not isinstance(self._default, (str, type(None))) and name in {"", self._default.name}:
            return self._default
        if isinstance(self._default, Routed) and name in self._default.models:
            return self._default.models[name]
        wanted = name or str(self._default)
        if wanted not in self._made:
            self._made[wanted] = model_named(wanted)
        return self._made[wanted]

    def places(self, names: Iterable[str]) -> Record:
        """Per name what it stands for: the resolved model and its endpoint class."""
        models = {name: self.get(name) for name in dict.fromkeys(names)}
        return Record({name: place(model) for name, model in models.items()})

    async def aclose(self) -> None:
        """Close what was made by name."""
        for model in self._made.values():
            await model.aclose()
        self._made.clear()
