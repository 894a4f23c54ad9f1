"""Commands on a terminal of a size, as a person sees them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

SECONDS = 60


def in_terminal(
    words: Sequence[str],
    *,
    width: int,
    height: int = 50,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> str:
    """What a command prints on a terminal; ``environ`` is added to the variables of the tests."""
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    kept = {
        name: text
        for name, text in os.environ.items()
        if name not in {"COLUMNS", "LINES", "PAGER", "LMFLOW_PAGER"}
    }
    process = subprocess.Popen(
        words,
        stdin=far,
        stdout=far,
        stderr=far,
        cwd=folder,
        close_fds=True,
        env={**kept, "TERM": "xterm", **(environ or {})},
    )
    os.close(far)
    chunks = []
    with contextlib.suppress(OSError):  # the terminal's end, once all have closed it
        while chunk := os.read(near, 65536):
            chunks.append(chunk)
    os.close(near)
    process.wait(SECONDS)
    return b"".join(chunks).decode("utf-8", "replace").replace("\r\n", "\n")
