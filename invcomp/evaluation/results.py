"""The measurements of a comparison, one per line of a file; a killed run continues from it."""

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
Key: TypeAlias = tuple[str, str, int, float]  # for one image or one set


@dataclass(frozen=True)
class Measured:
    """One file of one image.

    Attributes:
        image: the image's name.
        digest: of its pixels in the model's frame.
        codec: "invcomp", or one of `codecs.ALL_CODECS`.
        size: side of the encoded image in pixels.
        quality: the codec's quality setting.
        bytes: size of the whole file.
        seconds: encoding time.
        values: of the metrics, by name.
        made: what else our file depends on (model and search); "" for other codecs.
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
        """The unique key; the same name with other pixels is another image."""
        return image_key(self.image, self.digest), self.codec, self.size, self.quality


@dataclass(frozen=True)
class MeasuredSet:
    """KID of all images, encoded by one codec at one setting.

    Attributes:
        digest: of the set and, if it is ours, of what made it.
        codec, size, quality: as in `Measured`.
        features: the network of the features, as in `Kid.features`.
        kid: the distance; estimates for small sets can be negative.
    """

    digest: str
    codec: str
    size: int
    quality: float
    features: str
    kid: float

    @property
    def key(self) -> Key:
        """The unique key."""
        return f"{self.digest} {self.features}", self.codec, self.size, self.quality


def image_key(image: str, digest: str) -> str:
    """The key of an image, from its name and its pixels."""
    return f"{digest} {image}"


class Results:
    """The measurements so far; each is written to the file before the next is added.

    Args:
        folder: of the file; created if necessary.
        settings: everything that affects the figures, as JSON values.

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
        """Reads the file; drops an unfinished last line."""
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
            raise OutputError(f"{self.path}: line {number} is damaged: choose another folder")
        return values

    def _check(self, found: dict[str, Any]) -> None:
        """Checks that the file was made with the same settings."""
        if found.get("format") != FORMAT:
            raise OutputError(f"{self.path} does not belong to a comparison: choose another folder")
        wanted = json.loads(json.dumps(self.settings))
        for name in wanted:
            if found.get(name) != wanted[name]:
                raise OutputError(
                    f"{self.path.parent} was made with {name} {found.get(name)}, this is "
                    f"{wanted[name]}: choose another folder"
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
        """Stores one measurement.

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
        """All measured files."""
        return iter(self._files.values())
