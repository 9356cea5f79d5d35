"""The measurements of a comparison, one a line of a file that a killed run goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import OutputError

NAME = "results.jsonl"
FORMAT = "invcomp comparison 2"

Setting: TypeAlias = tuple[str, int, float]  # codec, size, quality
Key: TypeAlias = tuple[str, str, int, float]  # of one image or one set


@dataclass(frozen=True)
class Measured:
    """One file of one image.

    Attributes:
        image: the image's name.
        digest: of its pixels in the model's frame.
        codec: "invcomp", or one of `codecs.ALL_CODECS`.
        size: side in pixels at which it was encoded.
        quality: that the codec was given.
        bytes: size of the whole file.
        seconds: that encoding took.
        values: of the metrics, by name.
        made: what else a file of ours depends on, model and search; "" of the others.
    """

    image: str
    digest: str
    codec: str
    size: int
    quality: float
    bytes: int
    seconds: float
    values: dict[str, float]
    made: str = ""

    @property
    def key(self) -> Key:
        """What there can be one of: other pixels under an old name are another image."""
        return image_key(self.image, self.digest), self.codec, self.size, self.quality


@dataclass(frozen=True)
class MeasuredSet:
    """KID of all images, coded by one codec at one setting.

    Attributes:
        digest: of the set and, where it is ours, of what made it.
        codec, size, quality: as of `Measured`.
        features: the network that gave the features, as `Kid.features` names it.
        kid: the distance; estimates of small sets may be below zero.
    """

    digest: str
    codec: str
    size: int
    quality: float
    features: str
    kid: float

    @property
    def key(self) -> Key:
        """What there can be one of."""
        return f"{self.digest} {self.features}", self.codec, self.size, self.quality


def image_key(image: str, digest: str) -> str:
    """What an image goes by, of its name and its pixels."""
    return f"{digest} {image}"


class Results:
    """What is measured so far; every addition is in the file before the next is made.

    Args:
        folder: of the file; made if it is not there.
        settings: what decides every figure; of JSON's types.

    Raises:
        OutputError: the file was made with other settings, is damaged, or cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.path = folder / NAME
        self.settings = {"format": FORMAT, **settings}
        self._files: dict[Key, Measured] = {}
        self._sets: dict[Key, MeasuredSet] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._read()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{self.path}: cannot be used: {reason}") from error

    def _read(self) -> None:
        """Takes in what is there, less a last line that was never finished."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        first, *lines = whole.decode().splitlines() or [""]
        if not first:
            self._append(self.settings)
            return
        self._check(self._parsed(first, 1))
        for number, line in enumerate(lines, 2):
            self._take(self._parsed(line, number), number)

    def _parsed(self, line: str, number: int) -> dict[str, Any]:
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise OutputError(f"{self.path}: line {number} is damaged: give another -o")
        return values

    def _check(self, found: dict[str, Any]) -> None:
        """That the file was made with the same settings."""
        if found.get("format") != FORMAT:
            raise OutputError(f"{self.path} is not of a comparison: give another -o")
        wanted = json.loads(json.dumps(self.settings))
        for name in wanted:
            if found.get(name) != wanted[name]:
                raise OutputError(
                    f"{self.path.parent} was made with {name} {found.get(name)}, this is "
                    f"{wanted[name]}: give another -o"
                )

    def _take(self, values: dict[str, Any], number: int) -> None:
        try:
            self._keep(MeasuredSet(**values) if "kid" in values else Measured(**values))
        except TypeError as error:
            raise OutputError(f"{self.path}: line {number} is damaged: {error}") from error

    def _append(self, values: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def add(self, measured: Measured | MeasuredSet) -> None:
        """Keeps one measurement.

        Raises:
            OutputError: it cannot be written.
        """
        self._append(asdict(measured))
        self._keep(measured)

    def _keep(self, measured: Measured | MeasuredSet) -> None:
        if isinstance(measured, Measured):
            self._files[measured.key] = measured
        else:
            self._sets[measured.key] = measured

    def file(self, key: Key) -> Measured | None:
        """The measurement of one file, if there is one."""
        return self._files.get(key)

    def set(self, key: Key) -> MeasuredSet | None:
        """The KID of a set, if there is one."""
        return self._sets.get(key)

    def __iter__(self) -> Iterator[Measured]:
        """Every file that was measured."""
        return iter(self._files.values())
