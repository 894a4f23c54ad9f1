"""Reads examples: few are held, many are stored as they are read and read back a page at a time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Protocol, runtime_checkable

import attrs

from lmflow.data.dataset import Dataset, check_rows, dataset_of, record_of
from lmflow.execution.jobs.samples import Rows
from lmflow.execution.session import Session
from lmflow.traces.paged import HELD
from lmflow.traces.store import RunPages
from lmflow.values.canonical_text import text_form
from lmflow.values.record import Record

_PAGE = 500
"""The examples that are stored at once."""

Check = Callable[[Record], object]
"""Raises the error of an example that the program can't run on."""


class ExamplesDraft(Protocol):
    """A data set that is stored a few examples at a time; nobody sees it before it is whole."""

    def add(self, examples: Sequence[Record], /) -> None:
        """Store the next examples; ``BadData`` if an earlier one has the id of one."""
        ...

    def keep(self, digest: str, /) -> Sequence[Record]:
        """Store the data set of all examples, and return them, to be read when looked at."""
        ...

    def close(self) -> None:
        """End the draft; without ``keep`` there is no data set."""
        ...


@runtime_checkable
class ExamplesStore(Protocol):
    """The data sets of a store that can be stored a few examples at a time."""

    def draft(self, name: str, /) -> ExamplesDraft:
        """Begin to store a data set of that name."""
        ...


@attrs.frozen(eq=False)
class KeptExamples:
    """Examples that a store holds.

    Attributes:
        digest: The digest of the data set, as of one that is held.
        fields: The names of all fields, in the order in which they appear.
        rows: The examples, which are read when they are looked at.
    """

    digest: str
    fields: tuple[str, ...]
    rows: Sequence[Record]

    def __len__(self) -> int:
        return len(self.rows)


async def read_examples(
    session: Session, name: str, rows: Rows, check: Check
) -> Dataset | KeptExamples:
    """Read all examples.

    Args:
        session: The session whose store may keep them.
        name: The name of the data set.
        rows: The examples.
        check: Is called with each example that is kept in the store.

    Returns:
        The data set; if there are more than ``HELD`` examples and the store can keep them and give
        the traces back as they are, the examples that it keeps.

    Raises:
        BadData: Two examples have one id.
        TypeError: An example is no mapping.
    """
    store = _store_of(session)
    if isinstance(rows, AsyncIterable):
        return await _read_later(store, name, aiter(rows), check)
    check_rows(rows)
    if store is None or (isinstance(rows, Sequence) and len(rows) <= HELD):
        return dataset_of(name, rows)
    reading = iter(rows)
    first = list(islice(reading, HELD + 1))
    if len(first) <= HELD:
        return dataset_of(name, rows if isinstance(rows, Dataset) else first)
    return await _kept(store, name, _pages(chain(first, reading)), check)


async def _read_later(
    store: ExamplesStore | None, name: str, rows: AsyncIterator[Mapping[str, Any]], check: Check
) -> Dataset | KeptExamples:
    first: list[Mapping[str, Any]] = []
    async for row in rows:
        first.append(row)
        if store is not None and len(first) > HELD:
            return await _kept(store, name, _later_pages(first, rows), check)
    return dataset_of(name, first)


# What a redacted store holds isn't what the caller gave; a recording that answers in place of
# models is asked for all executions before the first of them runs.
def _store_of(session: Session) -> ExamplesStore | None:
    """Return what can keep examples, if the store can give traces back as they are, too."""
    connections, recorder = session.connections, session.recorder
    store = getattr(recorder, "datasets", None)
    is_whole = connections.redactor is None and connections.answers is None
    is_paged = isinstance(getattr(recorder, "runs", None), RunPages)
    return store if is_whole and is_paged and isinstance(store, ExamplesStore) else None


async def _kept(
    store: ExamplesStore, name: str, pages: AsyncIterator[list[Record]], check: Check
) -> KeptExamples:
    noted = _Noted()
    draft = await asyncio.to_thread(store.draft, name)
    try:
        async for page in pages:
            for example in page:
                noted.add(example)
                check(example)
            await asyncio.to_thread(draft.add, page)
        digest = noted.digest()
        rows = await asyncio.to_thread(draft.keep, digest)
    finally:
        await asyncio.to_thread(draft.close)
    return KeptExamples(digest, tuple(noted.fields), rows)


async def _pages(rows: Iterable[Mapping[str, Any]]) -> AsyncIterator[list[Record]]:
    reading = iter(rows)
    while page := list(map(record_of, islice(reading, _PAGE))):
        yield page


async def _later_pages(
    first: Iterable[Mapping[str, Any]], rows: AsyncIterator[Mapping[str, Any]]
) -> AsyncIterator[list[Record]]:
    page = list(map(record_of, first))
    async for row in rows:
        page.append(record_of(row))
        if len(page) >= _PAGE:
            yield page
            page = []
    if page:
        yield page


class _Noted:
    """Derives the digest of a data set from its examples one after the other; ``fields`` has the
    names of their fields.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(b"dataset\0[", digest_size=32)
        self._count = 0
        self.fields: dict[str, None] = {}

    def add(self, example: Record) -> None:
        """Note the next example."""
        form = text_form(example.digest)
        self._hash.update((f",{form}" if self._count else form).encode("ascii"))
        self._count += 1
        for field in example:
            self.fields[field] = None

    def digest(self) -> str:
        """Return the digest of the data set of the examples so far."""
        whole = self._hash.copy()
        whole.update(b"]")
        return "v1:b2:" + whole.hexdigest()
