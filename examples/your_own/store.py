"""A store of one's own: every event goes to two stores, and reads come from the first."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import lmflow as lf
from lmflow.messages.replies import Outcome
from lmflow.traces.events import Event
from lmflow.traces.store import ExecutionQuery, Store


class Mirrored:
    """Keeps what happens in one store, and a copy of it in another, such as a file elsewhere.

    An append is done once both have it. If the first refuses it, the copy never sees it.
    """

    def __init__(self, main: Store, copy: Store) -> None:
        self.main, self.copy = main, copy
        self.name = f"{main.name}, mirrored"
        self.runs, self.versions = main.runs, main.versions

    def append(self, *events: Event) -> Future[None]:
        """Store events in order, all of them or none."""
        done: Future[None] = Future()

        def copied(future: Future[None]) -> None:
            if error := future.exception():
                done.set_exception(error)
            else:
                done.set_result(None)

        def kept(future: Future[None]) -> None:
            if error := future.exception():
                done.set_exception(error)
            else:
                self.copy.append(*events).add_done_callback(copied)

        self.main.append(*events).add_done_callback(kept)
        return done

    def version(self, name: str) -> lf.Version:
        """The version that a ref, an id or ``REF~N`` names."""
        return self.main.version(name)

    def recorded(self, queries: Sequence[ExecutionQuery], /) -> Sequence[lf.Trace | None]:
        """The newest trace of each execution."""
        return self.main.recorded(queries)

    def run(self, run: str) -> lf.Run:
        """A run with all its traces."""
        return self.runs.get(run)

    def trace(self, trace: str) -> lf.Trace:
        """A trace with all its calls."""
        return self.runs.trace(trace)

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """The newest reply for a request's key."""
        return self.runs.answer(key)

    def first(self, name: str) -> lf.Version:
        """The oldest stored ancestor of a version."""
        return self.versions.first(name)

    def refs(self) -> Mapping[str, str]:
        """The version ids by ref."""
        return self.versions.refs()

    def close(self) -> None:
        """Write what is queued, and let go of both."""
        self.main.close()
        self.copy.close()


if __name__ == "__main__":
    lf.testing.check_store(lambda: Mirrored(lf.MemoryStore(), lf.MemoryStore()))
    store = Mirrored(lf.MemoryStore(), lf.MemoryStore())
    answer = lf.predict("answer", "question -> answer")
    with lf.Sync(lf.scripted(["two minutes"]), store) as ex:
        trace = ex.run(answer, question="How long?")
    print(lf.replay(store.copy.trace(trace.id), answer).root == trace.root)
