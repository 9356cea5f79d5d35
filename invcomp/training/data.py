"""Training images from a folder, archive or list, fitted once into a memory-mapped cache."""

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
from torch import Tensor

from ..errors import DatasetError, FrameError, ImageError, OptionError
from ..files import atomic_write, cache_directory
from ..fitting import fit_image
from ..perception.faces import face_networks
from ..preprocessing.frame import CENTRE_CROP, FACE, check_frame, from_tensor
from ..preprocessing.reading import decode_image

DataProgress = Callable[[str, int, int], None]
Result = TypeVar("Result")

CACHE_VERSION = 2  # changes with what reading or fitting makes of a file
LARGEST_FILE = 1 << 28  # bytes; each thread holds one file
THREADS = min(8, os.cpu_count() or 1)
NO_FACE = "no face that can be aligned"  # the reason, in a domain of faces
SHUFFLE, SPLIT = 0, 1  # independent streams of one seed


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one size in a memory-mapped file, or a subset of them.

    They are ordered by file hash, so renaming or moving files does not change what a seed draws.

    Attributes:
        images: uint8 [M, R, R, 3], all images in the file.
        rows: [N], the rows that belong to this dataset.
        names: of the N files, relative to the folder, in the archive, or as in the list.
        bad: name of each unusable file, and the reason.
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
            IndexError: an index is not below `len(self)`.
        """
        rows = self.rows[np.asarray(indices, np.int64)]
        return torch.from_numpy(np.asarray(self.images[rows])).permute(0, 3, 1, 2)

    def split(self, held_out: int, seed: int) -> tuple[Dataset, Dataset]:
        """Splits into training images and `held_out` others, drawn with `seed` (>= 0).

        Raises:
            OptionError: fewer than 2 training images would be left.
        """
        if not 0 <= held_out <= len(self) - 2:
            raise OptionError(
                f"{held_out} of {len(self)} images held out: at least 2 must be left for training"
            )
        order = _permutation(len(self), seed, 0, SPLIT)
        return self._only(np.sort(order[held_out:])), self._only(np.sort(order[:held_out]))

    def _only(self, indices: NDArray[np.int64]) -> Dataset:
        return replace(self, rows=self.rows[indices], names=[self.names[i] for i in indices])

    def shuffled(self, seed: int, start: int, count: int) -> NDArray[np.int64]:
        """A part of the endless stream of epochs, each a new order of all images.

        The stream only depends on `seed` (>= 0) and the number of images, so a training that is
        resumed after `start` images sees the same images as without the interruption.

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


@lru_cache(maxsize=2)  # an epoch is read batch by batch
def _permutation(count: int, seed: int, epoch: int, stream: int) -> NDArray[np.int64]:
    """A permutation from raw bits, which unlike numpy's shuffles never change."""
    bits = np.random.PCG64([stream, seed, epoch]).random_raw(count)
    return np.argsort(bits, kind="stable")


def open_dataset(
    source: Path,
    resolution: int,
    cache: Path | None = None,
    progress: DataProgress | None = None,
    frame: str = CENTRE_CROP,
) -> Dataset:
    """Opens images of any format that Pillow reads, of any size, as squares of one size.

    Images are fitted as in `compress` (`fit_image`). The squares are stored in a cache whose key is
    the content of the files, so it remains valid after moving or renaming. Files that are not
    images, damaged or too large are skipped and listed in `Dataset.bad`.

    Args:
        source: a folder (searched recursively; hidden files and links to folders are skipped), a
            .zip, or a .txt with one path per line, relative to its own folder.
        resolution: of the squares in pixels, a power of two of at least 8.
        cache: folder of the squares; default: "datasets" in the user's cache directory.
        progress: called with a stage, files done and total: "reading" while they are hashed and,
            if they are not in the cache, "fitting".
        frame: how images are fitted, one of `FRAMES`. By "ffhq-face", images without a face that
            can be aligned are in `Dataset.bad`, with the reason `NO_FACE`.

    Raises:
        OptionError: the resolution is not a power of two or is below 8, or there is no such frame.
        DatasetError: the source is missing, unreadable, or has fewer than 2 usable images.
        OutputError: the cache cannot be written.
    """
    if resolution < 8 or resolution & (resolution - 1):
        raise OptionError(f"resolution is {resolution}: must be a power of two of at least 8")
    check_frame(frame)
    progress = progress or (lambda stage, done, total: None)
    with ExitStack() as stack:
        files, bad = [], []
        found = _find(source, stack)
        for file, digest in zip(found, _each("reading", _digest, found, progress), strict=True):
            if isinstance(digest, ImageError):
                bad.append((file.name, str(digest)))
            else:
                files.append((digest, file))
        files.sort(key=lambda pair: (pair[0], pair[1].name))
        fitting = "" if frame == CENTRE_CROP else f"{frame} "
        key = hashlib.sha256(f"{CACHE_VERSION} {resolution} {fitting}".encode())
        key.update("".join(digest for digest, _ in files).encode())
        path = (cache or cache_directory() / "datasets") / f"{key.hexdigest()}.npy"
        reasons = _read_cache(path, resolution)
        if reasons is None:
            reasons = _make_cache(path, files, resolution, frame, progress)
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
    """A file of the source: its name, and how to read its bytes."""

    name: str
    source: Callable[[], bytes]

    def read(self) -> bytes:
        """Reads all bytes.

        Raises:
            ImageError: they cannot be read, or are too many.
        """
        try:
            return self.source()
        except Exception as error:  # archives can raise anything
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
    raise DatasetError(f"{source}: not a folder, a .zip or a .txt list of images")


def _in_folder(folder: Path) -> list[_File]:
    paths: list[Path] = []

    def keep(error: OSError) -> None:  # unreadable folders are listed as bad
        paths.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=keep):
        folders[:] = [name for name in folders if not _is_passed_over(name)]
        paths += [Path(parent, name) for name in names if not _is_passed_over(name)]
    return [_File(path.relative_to(folder).as_posix(), partial(_read_file, path)) for path in paths]


def _in_archive(archive: ZipFile) -> list[_File]:
    lock = Lock()  # for the file that all members share
    return [
        _File(member.filename, partial(_read_member, archive, member, lock))
        for member in archive.infolist()
        if not member.is_dir() and not any(map(_is_passed_over, member.filename.split("/")))
    ]


def _is_passed_over(name: str) -> bool:
    """Whether a name is hidden or macOS metadata."""
    return (name.startswith(".") and name not in (".", "..")) or name == "__MACOSX"


def _read_file(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe might not end
        raise ImageError("not a file")
    _check_size(status.st_size)
    return path.read_bytes()


def _read_member(archive: ZipFile, member: ZipInfo, lock: Lock) -> bytes:
    _check_size(member.file_size)
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ImageError(
            "compressed with a method other than deflate"
        )  # zipfile cannot limit others
    with lock, archive.open(member) as file:
        return file.read(member.file_size)  # read() could unpack more than declared


def _check_size(size: int) -> None:
    if size > LARGEST_FILE:
        raise ImageError(f"{size:,} bytes exceed the limit of {LARGEST_FILE:,}")


def _each(
    stage: str, work: Callable[[_File], Result], files: Sequence[_File], progress: DataProgress
) -> Iterator[Result]:
    """The results of `work` for all files, in order."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        for done, result in enumerate(pool.map(work, files)):
            progress(stage, done, len(files))
            yield result
        progress(stage, len(files), len(files))
    finally:
        pool.shutdown(cancel_futures=True)


def _digest(file: _File) -> str | ImageError:
    """SHA-256 of the file's bytes, or why they cannot be read."""
    try:
        return hashlib.sha256(file.read()).hexdigest()
    except ImageError as error:
        return error


def _square(file: _File, resolution: int, frame: str) -> NDArray[np.uint8] | ImageError:
    """The image as uint8 [R, R, 3], or why it is unusable."""
    try:
        data = file.read()
    except ImageError as error:  # must not be cached for this content
        raise DatasetError(f"{file.name}: can no longer be read: {error}") from error
    try:
        image, _ = decode_image(io.BytesIO(data))
        return np.asarray(from_tensor(fit_image(image, resolution, frame).tensor))
    except FrameError:
        return ImageError(NO_FACE)
    except ImageError as error:
        return error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _read_cache(path: Path, resolution: int) -> dict[str, str] | None:
    """Reasons by SHA-256 for files that are not in the cache; None without a complete cache."""
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        images = np.load(path, mmap_mode="r")
        reasons: dict[str, str] = about["bad"]
        expected = (about["images"], resolution, resolution, 3)
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    return reasons if images.shape == expected and images.dtype == np.uint8 else None


def _make_cache(
    path: Path,
    files: Sequence[tuple[str, _File]],
    resolution: int,
    frame: str,
    progress: DataProgress,
) -> dict[str, str]:
    """Fits files (with their SHA-256), writes usable ones, returns reasons for the others."""
    reasons, count = {}, 0
    work = partial(_square, resolution=resolution, frame=frame)
    if frame == FACE:
        face_networks()  # here, and not in the threads that read
    with (
        warnings.catch_warnings(),
        atomic_write(path, force=True) as temporary,
        temporary.open("wb") as output,
    ):
        warnings.simplefilter("ignore")  # about unusual metadata
        output.write(_header(len(files), resolution))
        squares = _each("fitting", work, [file for _, file in files], progress)
        for (digest, _), square in zip(files, squares, strict=True):
            if isinstance(square, ImageError):
                reasons[digest] = str(square)
            else:
                output.write(square.tobytes())
                count += 1
        torch.set_num_threads(torch.get_num_threads())  # finding faces changes that of new threads
        output.seek(0)
        output.write(_header(count, resolution))
    about = {
        "version": CACHE_VERSION,
        "content": path.stem,
        "resolution": resolution,
        "frame": frame,
        "images": count,
        "bad": reasons,
    }
    with atomic_write(path.with_suffix(".json"), force=True) as temporary:
        temporary.write_text(json.dumps(about, indent=1))
    return reasons


def _header(count: int, resolution: int) -> bytes:
    """Header of a .npy file; numpy pads it to a length independent of the first axis."""
    header = io.BytesIO()
    shape = (count, resolution, resolution, 3)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return header.getvalue()
