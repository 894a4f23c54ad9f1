"""Which colour is it? A step that is shown pictures, on recorded calls: ``python
examples/pictures/pictures.py``.

Without a key or weights: a stand-in looks at the first pixel. With a model that sees, give its
name: ``python examples/pictures/pictures.py openai/MODEL``.
"""

import struct
import sys
import tempfile
import zlib
from pathlib import Path

import lmflow as lf
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.checks.health import health

COLOURS = {"red": b"\xff\0\0", "green": b"\0\xff\0", "blue": b"\0\0\xff"}

name = lf.predict(
    "name",
    "picture: Image, shades: list[str] -> colour",
    "Name the colour of the picture.",
)


def png(pixel: bytes, side: int = 64) -> bytes:
    """A square of one colour."""
    head = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    chunks = (
        (b"IHDR", head),
        (b"IDAT", zlib.compress((b"\0" + pixel * side) * side)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def look(request: ChatRequest) -> str:
    """What a model that sees would say."""
    data = request.messages[-1].attached[0].media.data
    size = struct.unpack(">I", data[33:37])[0]
    pixel = zlib.decompress(data[41 : 41 + size])[1:4]
    return next(colour for colour, known in COLOURS.items() if known == pixel)


def main(model: str = "") -> None:
    """Ask of each picture three times, replay it all, and say what the store holds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        lf.SqliteStore(path := Path(folder) / "pictures.db") as store,
    ):
        for colour, pixel in COLOURS.items():
            file = Path(folder) / f"{colour}.png"
            file.write_bytes(png(pixel))
            for shades in (["red", "green", "blue"], ["blue", "green", "red"], list(COLOURS)):
                inputs = {"picture": lf.Image(file), "shades": shades}
                trace = lf.run(name(**inputs), model=model or lf.scripted(look), store=store)
                lf.replay(trace)
            print(f"{trace.inputs.picture}  {trace.outputs and trace.outputs.colour}")
        counts = health(path)
        if counts is not None:
            stored = f"{counts.calls} calls, {counts.media} pictures in the store"
            print(f"{stored}; replayed offline: exact")


if __name__ == "__main__":
    main(*sys.argv[1:])
