"""Images to train on: a folder, an archive or a list, fitted once into a memory-mapped cache."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import DatasetError, ImageError, OptionError
from ..files import atomic_write
from ..model_zoo.download import cache_directory
from ..preprocessing.frame import fit, from_tensor

DataProgress = Callable[[int, int], None]
Result = TypeVar("Result")

CACHE_VERSION = 1
LARGEST_FILE = 1 << 28  # bytes; each thread holds one file
THREADS = min(8, os.cpu_count() or 1)
SHUFFLE, SPLIT = 0, 1  # independent streams of one seed


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one size in a memory-mapped file, or a part of them.

    Their order is that of the files' hashes: neither renaming nor moving changes what a seed draws.

    Attributes:
        images: uint8 [M, R, R, 3], all that the file holds.
        rows: [N], which of those are this dataset's.
        names: of the N files, relative to the folder, in the archive, or as the list has them.
        bad: name of each file that could not be used, and why.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.int64]
    names: list[str]
    bad: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def resolution(self) -> int:
        """R, the side of an image in pixels."""
        return int(self.images.shape[1])

    def batch(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Tensor:
        """The images at `indices`, uint8 [n, 3, R, R] in channels-last memory.

        Raises:
            IndexError: an index that is not below `len(self)`.
        """
        rows = self.rows[np.asarray(indices, np.int64)]
        return torch.from_numpy(np.asarray(self.images[rows])).permute(0, 3, 1, 2)

    def split(self, held_out: int, seed: int) -> tuple[Dataset, Dataset]:
        """What to train on, and `held_out` images drawn by `seed` (>= 0) that are kept from it.

        Raises:
            OptionError: fewer than 2 would be left to train on.
        """
        if not 0 <= held_out <= len(self) - 2:
            raise OptionError(
                f"{held_out} of {len(self)} images held out: at least 2 must be left to train on"
            )
        order = _permutation(len(self), seed, 0, SPLIT)
        return self._only(np.sort(order[held_out:])), self._only(np.sort(order[:held_out]))

    def _only(self, indices: NDArray[np.int64]) -> Dataset:
        return replace(self, rows=self.rows[indices], names=[self.names[i] for i in indices])

    def shuffled(self, seed: int, start: int, count: int) -> NDArray[np.int64]:
        """A piece of the endless stream of epochs, each a new order of all images.

        The stream depends on nothing but `seed` (>= 0) and the number of images: a training that
        has seen `start` images goes on with what it would have seen.

        Returns:
            [count], indices for `batch`: positions `start` to `start + count` of the stream.
        """
        pieces = [np.empty(0, np.int64)]
        end = start + count
        while start < end:
            epoch, offset = divmod(start, len(self))
            order = _permutation(len(self), seed, epoch, SHUFFLE)
            pieces.append(order[offset : offset + end - start])
            start += len(pieces[-1])
        return np.concatenate(pieces)


@lru_cache(maxsize=2)  # an epoch is asked for batch by batch
def _permutation(count: int, seed: int, epoch: int, stream: int) -> NDArray[np.int64]:
    """An order of `count` things, made of raw bits: numpy may change its shuffles, not those."""
    bits = np.random.PCG64([stream, seed, epoch]).random_raw(count)
    return np.argsort(bits, kind="stable")


def open_dataset(
    source: Path, resolution: int, cache: Path | None = None, progress: DataProgress | None = None
) -> Dataset:
    """Opens images of any format that Pillow reads, of any size, as squares of one size.

    Each is fitted as `compress` fits an image (`frame.fit`). The squares are kept in a cache
    that is found by the files' content: after moving or renaming it is used again. Files that are
    no images, damaged or too large are left out and named in `Dataset.bad`.

    Args:
        source: a folder (with those in it; hidden files and links to folders are passed over), a
            .zip, or a .txt with one path a line, relative to its own folder.
        resolution: of the squares in pixels, a power of two, 8 or more.
        cache: folder of the squares; "datasets" in the user's cache directory if not given.
        progress: called with files done and in all: while all are hashed, and then, where the
            cache does not have them, again while they are fitted.

    Raises:
        OptionError: a resolution that is no power of two or below 8.
        DatasetError: no such source, it cannot be read, or fewer than 2 usable images in it.
        OutputError: the cache cannot be written.
    """
    if resolution < 8 or resolution & (resolution - 1):
        raise OptionError(f"resolution is {resolution}: a power of two from 8 on is needed")
    progress = progress or (lambda done, total: None)
    with ExitStack() as stack:
        files, bad = [], []
        found = _find(source, stack)
        for file, digest in zip(found, _each(_digest, found, progress), strict=True):
            if isinstance(digest, ImageError):
                bad.append((file.name, str(digest)))
            else:
                files.append((digest, file))
        files.sort(key=lambda pair: (pair[0], pair[1].name))
        key = hashlib.sha256(f"{CACHE_VERSION} {resolution} ".encode())
        key.update("".join(digest for digest, _ in files).encode())
        path = (cache or cache_directory() / "datasets") / f"{key.hexdigest()}.npy"
        reasons = _read_cache(path, resolution)
        if reasons is None:
            reasons = _make_cache(path, files, resolution, progress)
    bad += [(file.name, reasons[digest]) for digest, file in files if digest in reasons]
    names = [file.name for digest, file in files if digest not in reasons]
    if len(names) < 2:
        first = f" ({bad[0][0]}: {bad[0][1]})" if bad else ""
        raise DatasetError(
            f"{source}: {len(names)} usable and {len(bad)} unusable files{first}: "
            "at least 2 images are needed"
        )
    images = np.load(path, mmap_mode="r")
    return Dataset(images, np.arange(len(names)), names, sorted(bad))


@dataclass(frozen=True)
class _File:
    """A file of the source: its name, and how its bytes are had."""

    name: str
    source: Callable[[], bytes]

    def read(self) -> bytes:
        """All its bytes.

        Raises:
            ImageError: they cannot be had, or are too many.
        """
        try:
            return self.source()
        except Exception as error:  # archives raise all sorts
            raise ImageError(_reason(error)) from error


def _find(source: Path, stack: ExitStack) -> list[_File]:
    """The files of a source; an archive stays open until the stack closes."""
    try:
        if source.is_dir():
            return _in_folder(source)
        if source.suffix.lower() == ".zip":
            return _in_archive(stack.enter_context(ZipFile(source)))
        if source.suffix.lower() == ".txt":
            lines = source.read_text("utf-8-sig").splitlines()
            names = [line.strip() for line in lines if line.strip()]
            return [_File(name, partial(_read_file, source.parent / name)) for name in names]
    except (OSError, ValueError, NotImplementedError, BadZipFile) as error:
        raise DatasetError(f"{source}: cannot be read: {_reason(error)}") from error
    raise DatasetError(f"{source}: no folder, and neither a .zip nor a .txt list of images")


def _in_folder(folder: Path) -> list[_File]:
    paths: list[Path] = []

    def keep(error: OSError) -> None:  # a folder that cannot be read is named as bad
        paths.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=keep):
        folders[:] = [name for name in folders if not _is_passed_over(name)]
        paths += [Path(parent, name) for name in names if not _is_passed_over(name)]
    return [_File(path.relative_to(folder).as_posix(), partial(_read_file, path)) for path in paths]


def _in_archive(archive: ZipFile) -> list[_File]:
    lock = Lock()  # of the one file under all members
    return [
        _File(member.filename, partial(_read_member, archive, member, lock))
        for member in archive.infolist()
        if not member.is_dir() and not any(map(_is_passed_over, member.filename.split("/")))
    ]


def _is_passed_over(name: str) -> bool:
    """Hidden, or macOS's copies of metadata."""
    return (name.startswith(".") and name not in (".", "..")) or name == "__MACOSX"


def _read_file(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would never end
        raise ImageError("not a file")
    _check_size(status.st_size)
    return path.read_bytes()


def _read_member(archive: ZipFile, member: ZipInfo, lock: Lock) -> bytes:
    _check_size(member.file_size)
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ImageError("packed by another method than deflate")  # zipfile cannot bound the others
    with lock, archive.open(member) as file:
        return file.read(member.file_size)  # read() would unpack more than what is declared


def _check_size(size: int) -> None:
    if size > LARGEST_FILE:
        raise ImageError(f"{size:,} bytes are more than the {LARGEST_FILE:,} that are read")


def _each(
    work: Callable[[_File], Result], files: Sequence[_File], progress: DataProgress
) -> Iterator[Result]:
    """What `work` gives for every file, in their order."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        for done, result in enumerate(pool.map(work, files)):
            progress(done, len(files))
            yield result
        progress(len(files), len(files))
    finally:
        pool.shutdown(cancel_futures=True)


def _digest(file: _File) -> str | ImageError:
    """SHA-256 of the file's bytes, or why they cannot be had."""
    try:
        return hashlib.sha256(file.read()).hexdigest()
    except ImageError as error:
        return error


def _square(file: _File, resolution: int) -> NDArray[np.uint8] | ImageError:
    """The image as uint8 [R, R, 3], or why it is none."""
    try:
        data = file.read()
    except ImageError as error:  # not to be remembered of this content
        raise DatasetError(f"{file.name}: cannot be read any more: {error}") from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(from_tensor(fit(image, resolution)[0]))
    except Exception as error:  # on damaged files Pillow's plug-ins raise all sorts
        return ImageError(_reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _read_cache(path: Path, resolution: int) -> dict[str, str] | None:
    """Why which contents (SHA-256) are not in the cache's file; None if there is no whole cache."""
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        images = np.load(path, mmap_mode="r")
        reasons: dict[str, str] = about["bad"]
        expected = (about["images"], resolution, resolution, 3)
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    return reasons if images.shape == expected and images.dtype == np.uint8 else None


def _make_cache(
    path: Path, files: Sequence[tuple[str, _File]], resolution: int, progress: DataProgress
) -> dict[str, str]:
    """Fits the files (SHA-256 and file) and writes what could be; gives the others' reasons."""
    reasons, count = {}, 0
    work = partial(_square, resolution=resolution)
    with (
        warnings.catch_warnings(),
        atomic_write(path, force=True) as temporary,
        temporary.open("wb") as output,
    ):
        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        output.write(_header(len(files), resolution))
        squares = _each(work, [file for _, file in files], progress)
        for (digest, _), square in zip(files, squares, strict=True):
            if isinstance(square, ImageError):
                reasons[digest] = str(square)
            else:
                output.write(square.tobytes())
                count += 1
        output.seek(0)
        output.write(_header(count, resolution))
    about = {
        "version": CACHE_VERSION,
        "content": path.stem,
        "resolution": resolution,
        "images": count,
        "bad": reasons,
    }
    with atomic_write(path.with_suffix(".json"), force=True) as temporary:
        temporary.write_text(json.dumps(about, indent=1))
    return reasons


def _header(count: int, resolution: int) -> bytes:
    """Of a .npy file; numpy pads it so that its length does not depend on the first axis."""
    header = io.BytesIO()
    shape = (count, resolution, resolution, 3)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return header.getvalue()
