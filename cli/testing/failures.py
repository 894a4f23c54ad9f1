"""The report of a test that parts from its recording: its own lines, each difference once."""

from __future__ import annotations

import itertools
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import lmflow
from lmflow.errors import LmflowError, NetworkShut, ReplayDiverged, Unrecorded
from lmflow.replays.differences import CallDiff, Divergence, TraceDiff
from lmflow.values.printing import clean
from lmflow.views.lines import counted

if TYPE_CHECKING:
    import pytest

    from lmflow.cli.testing.recording import Recording

HINT = "pytest --lmflow-record=new"
PARTED = (ReplayDiverged, Unrecorded, NetworkShut)
"""The errors of a test that asks something else than was recorded."""

_FRAMES, _EXECUTIONS, _CALLS, _WORDS = 3, 2, 6, 2
_WIDTH = 100
_MARKS = ("[-", "{+")
_KINDS = {
    "moved": "was recorded at another place",
    "new": "was not recorded",
    "dropped": "was recorded, and is not asked any more",
    "unknown": "depends on a reply that was not recorded",
    "reissued": "is sent anew each time",
}


@attrs.frozen
class Place:
    """The line of a test that failed, as pytest's summary reads it."""

    path: str
    lineno: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.lineno}: {self.message}"


@attrs.frozen
class Report:
    """A report as pytest prints it."""

    text: str
    reprcrash: Place

    def __str__(self) -> str:
        return self.text

    def toterminal(self, writer: Any) -> None:
        """Write the report, its error in red.

        Args:
            writer: pytest's writer.
        """
        for line in self.text.splitlines():
            writer.line(line, red=line.startswith("E  "), bold=line.startswith("E  "))


def parted_report(
    excinfo: pytest.ExceptionInfo[BaseException], recording: Recording
) -> Report | None:
    """Return the report of a test that parted from its recording; ``None`` for other failures.

    Args:
        excinfo: The error of the test.
        recording: The recording.

    Returns:
        The report, of about 30 lines: where, what differs, and the command that mends it.
    """
    error = excinfo.value
    if not isinstance(error, PARTED) or not recording.replays:
        return None
    frames = _own_frames(excinfo.traceback)
    headline = f"{type(error).__name__}: {_headline(error, recording.path)}"
    lines = [
        *itertools.chain.from_iterable(map(_frame_lines, frames[-_FRAMES:])),
        f"E   {headline}",
        "",
        *_difference_lines(recording),
        f"recording  {_near(recording.path)}, mode {recording.mode}",
        "If that is meant, record what is new:",
        f"    {HINT}",
    ]
    last = frames[-1] if frames else excinfo.traceback[-1]
    place = Place(str(last.path), last.lineno + 1, headline)
    return Report("\n".join(lines), place)


def hide_internals(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Leave the frames of lmflow and of Python out of the traceback of lmflow's own errors.

    Args:
        excinfo: The error of a test.
    """
    if not isinstance(excinfo.value, LmflowError):
        return
    if isinstance(excinfo.value.__context__, RuntimeError):
        # Only the look for a running loop raised it, before the test's own error.
        excinfo.value.__suppress_context__ = True
    own = excinfo.traceback.filter(lambda entry: _is_own(Path(str(entry.path))))
    if own:
        excinfo.traceback = own


def _own_frames(traceback: Iterable[Any]) -> list[Any]:
    return [entry for entry in traceback if _is_own(Path(str(entry.path)))]


def _is_own(path: Path) -> bool:
    """Return whether a file is the user's: none of lmflow, of Python, or of a package."""
    places = sysconfig.get_paths()
    foreign = {places["stdlib"], places["platstdlib"], places["purelib"], places["platlib"]}
    package = Path(lmflow.__file__).parent
    others = [*map(Path, foreign), package, package.parent / "cli", package.parent / "stores"]
    real = path.resolve()
    return not any(real.is_relative_to(other.resolve()) for other in others)


def _frame_lines(entry: Any) -> Iterator[str]:
    yield f"{_near(Path(str(entry.path)))}:{entry.lineno + 1}: in {entry.name}"
    yield f"    {str(entry.statement).strip().splitlines()[0]}"


def _near(path: Path) -> str:
    """Return a path from the current folder, if it is in there."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _headline(error: LmflowError, path: Path) -> str:
    match error:
        case ReplayDiverged(address=address, recorded=""):
            return f"{address} is asked, and was not recorded"
        case ReplayDiverged(address=address, asked=""):
            return f"{address} was recorded, and is not asked any more"
        case ReplayDiverged(address=address):
            return f"{address} asks something else than was recorded"
        case Unrecorded(program=program, problem=problem):
            return clean(f"{_near(path)} doesn't answer {program}: {problem}.")
        case _:
            return clean(" ".join(str(error).split()))


def _difference_lines(recording: Recording) -> Iterator[str]:
    """Yield what differs, the first executions call by call."""
    items = [item for divergence in recording.divergences() for item in _differing(divergence)]
    counts = Counter("\n".join(_execution_lines(item)) for item in items)
    for text, count in list(counts.items())[:_EXECUTIONS]:
        if count > 1:
            yield f"in {counted(count, 'execution')}:"
        yield from (*text.splitlines(), "")
    if len(counts) > _EXECUTIONS:
        others = sum(list(counts.values())[_EXECUTIONS:])
        yield from (f"… {counted(others, 'execution')} more differ otherwise", "")


def _differing(divergence: Divergence) -> Sequence[TraceDiff]:
    return [item for item in divergence.items if not item.same]


def _execution_lines(item: TraceDiff) -> Iterator[str]:
    differing = [call for call in item.calls if call.kind != "same"]
    for call in differing[:_CALLS]:
        yield from _call_lines(call)
    if len(differing) > _CALLS:
        yield f"… {len(differing) - _CALLS} more calls differ"
    same = len(item.calls) - len(differing)
    if same:
        yield f"{same} {'call is' if same == 1 else 'calls are'} as recorded"


def _call_lines(call: CallDiff) -> Iterator[str]:
    if call.kind != "changed":
        yield f"{clean(call.address)}  {_KINDS[call.kind]}"
        return
    blame = f" by {', '.join(map(clean, call.blame))}" if call.blame else ""
    yield f"{clean(call.address)}  changed{blame}"
    lines = [line for line in clean(call.words).splitlines() if line.strip()]
    yield from (f"    {_around_change(line)}" for line in lines[:_WORDS])
    if len(lines) > _WORDS:
        yield f"    … {len(lines) - _WORDS} more lines differ"


def _around_change(line: str) -> str:
    """Return the part of a line around its first change."""
    if len(line) <= _WIDTH:
        return line
    places = [line.find(mark) for mark in _MARKS if mark in line]
    start = max(0, min(places, default=0) - _WIDTH // 3)
    shown = line[start : start + _WIDTH]
    tail = "…" if start + _WIDTH < len(line) else ""
    return f"{'…' if start else ''}{shown}{tail}"


def without_own_log(sections: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out of a report's sections what lmflow logged of the run that stopped.

    Args:
        sections: The sections, by title.

    Returns:
        The others.
    """
    kept = []
    for title, text in sections:
        lines = [line for line in text.splitlines() if "  lmflow:" not in line]
        if lines:
            kept.append((title, "\n".join(lines)))
    return kept
