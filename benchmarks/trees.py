"""What folders are filled with: the same on every machine, and no hard links."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import repositories

LARGE = 20_000, 10**8
"""Files, and bytes, from which on a tree is large."""
_TEXT = 1 << 13
"""About the bytes that a generated text takes on a disk."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Tree:
    """So many files, of texts like those of the generated repositories, or of `size` random bytes each."""

    files: int
    size: int = 0

    @property
    def label(self) -> str:
        return f"{self.files:,} files" + (f" of {self.size / 1e6:,.0f} MB" if self.size else "")

    @property
    def total(self) -> int:
        """About how many bytes it takes."""
        return self.files * (self.size or _TEXT)

    @property
    def is_large(self) -> bool:
        return self.files >= LARGE[0] or self.total >= LARGE[1]

    def grow(self, folder: Path) -> list[str]:
        """Make the files below a folder that is not there yet, and return their paths."""
        return [_written(folder, path, parts) for path, parts in (self._random() if self.size else self._texts())]

    def _texts(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        return ((path, iter([text])) for path, text in repositories.contents(self.files))

    def _random(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        return ((f"data/part-{number:03}.bin", _noise(number, self.size)) for number in range(self.files))


def _noise(seed: int, size: int) -> Iterator[bytes]:
    dice = random.Random(seed)
    return (dice.randbytes(min(_CHUNK, size - at)) for at in range(0, size, _CHUNK))


def _written(folder: Path, path: str, parts: Iterator[bytes]) -> str:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.writelines(parts)
    return path
