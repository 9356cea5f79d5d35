"""Images of an archive: by name, by number, in a DataLoader, from any file that can seek."""

import io
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import invcomp
from invcomp.archive.reader import Archive
from invcomp.codec import Codec
from invcomp.decoder import Decoder
from invcomp.errors import BitstreamError, MissingBundleError
from invcomp.inversion.options import SearchOptions

from ..tiny import tiny_bundle
from .sets import conventional, file_of, mixed, packed, unfinished, write


@pytest.fixture(scope="module")
def files(images: list[Path]) -> dict[str, bytes]:
    """Files of the tiny bundle, and one of a conventional codec."""
    codec = Codec(tiny_bundle(), "cpu", compiled=False)
    options = SearchOptions(iterations=4, starts=1)
    made = {}
    for path in images:
        with Image.open(path) as image:
            made[f"in/{path.stem}"] = codec.compress(image, search=options)
    return {**made, "other": conventional()}


@pytest.fixture
def path(files: dict[str, bytes], tmp_path: Path, tiny_model: Path) -> Path:
    return write(tmp_path / "set.ivca", files)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int16)


def test_a_mapping_of_names_to_images(path: Path, files: dict[str, bytes]) -> None:
    with invcomp.Archive(path, device="cpu") as archive:
        assert [*archive] == [*archive.keys()] == [*files]
        assert len(archive) == 4
        assert "in/a" in archive
        assert "a" not in archive
        assert {name: archive.file(name) for name in archive} == files
        decoder = Decoder(tiny_bundle(), "cpu")
        for number, (name, image) in enumerate(archive.items()):
            assert np.array_equal(pixels(image), pixels(archive[number]))
            if name != "other":
                alone = decoder.decompress(files[name])
                assert np.abs(pixels(image) - pixels(alone)).max() <= 1
        assert archive["in/b"].size == (90, 90)
        assert archive["other"].size == archive[-1].size == (24, 16)
        for key in ("a", "in/z"):
            with pytest.raises(KeyError):
                archive[key]
        with pytest.raises(IndexError):
            archive[4]


def test_models_are_loaded_when_they_are_needed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "empty"))
    archive = Archive(path)
    assert archive["other"].size == (24, 16)
    with pytest.raises(MissingBundleError):
        archive["in/a"]
    assert Archive(path, model=tiny_model, size=20)["in/a"].size == (20, 20)


def test_a_data_loader_takes_batches_from_several_processes(path: Path) -> None:
    data = pytest.importorskip("torch.utils.data")
    archive = Archive(path, device="cpu", size=32, transform=np.array)
    (alone,) = data.DataLoader(archive, batch_size=3, sampler=[0, 1, 2])
    assert alone.shape == (3, 32, 32, 3)
    archive["in/a"]  # the file is open, and its position somewhere, when the processes begin
    for context, count in (("fork", 2), ("spawn", 1)):
        options = {"num_workers": count, "multiprocessing_context": context}
        found = [*data.DataLoader(archive, batch_size=1, sampler=[2, 0, 1, 0], **options)]
        for image, number in zip(found, (2, 0, 1, 0), strict=True):
            assert abs(image[0].int() - alone[number].int()).max() <= 1


def test_in_threads_and_pickled(tmp_path: Path) -> None:
    made = mixed(60)
    archive = Archive(write(tmp_path / "set.ivca", made))
    copy = pickle.loads(pickle.dumps(archive))
    wrong = []

    def read(offset: int) -> None:
        names = [*made]
        for name in names[offset:] + names[:offset]:
            if archive.file(name) != made[name]:
                wrong.append(name)

    threads = [threading.Thread(target=read, args=(7 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert {name: copy.file(name) for name in copy} == made


def test_any_file_that_can_seek() -> None:
    fsspec = pytest.importorskip("fsspec")
    files = {f"{number:05}": file_of(number) for number in range(2000)}
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/set.ivca", packed(files))
    with store.open("/bucket/set.ivca", "rb") as file:
        assert Archive(file).file("01234") == files["01234"]
    with fsspec.open("memory://bucket/set.ivca").open() as file:
        assert Archive(file).file(7) == files["00007"]
    assert Archive(io.BytesIO(unfinished(files))).file("01234") == files["01234"]
    store.rm("/bucket", recursive=True)


def test_verify_names_the_member_and_the_others_stay(tmp_path: Path) -> None:
    made = mixed(12)
    data = packed(made)
    clean = Archive(io.BytesIO(data))
    assert [*clean.verify()] == []
    assert clean.digest == data[13:29]
    for number, member in enumerate(clean.members):
        damaged = bytearray(data)
        damaged[member.offset + member.length // 2] ^= 0x10
        archive = Archive(io.BytesIO(damaged))
        (fault,) = archive.verify()
        assert fault.name == member.name
        assert "checksum" in fault.reason
        with pytest.raises(BitstreamError):
            archive.file(number)
        others = {name: archive.file(name) for name in archive if name != member.name}
        assert others == {name: made[name] for name in made if name != member.name}


def test_what_checksums_miss_the_digest_finds() -> None:
    """A file in place of another, with a right checksum."""
    one, two = packed({"a": file_of(1)}), packed({"a": file_of(10)})
    assert Archive(io.BytesIO(two)).file(0) == file_of(10)
    swapped = bytearray(two)
    swapped[8:33] = one[8:33]  # the block's header, with the digest
    (fault,) = Archive(io.BytesIO(swapped)).verify()
    assert "digest" in fault.reason


def test_of_an_archive_that_is_cut_short(tmp_path: Path) -> None:
    made = mixed(12)
    archive = Archive(io.BytesIO(packed(made)[:-1]))
    assert [*archive] == [*made][:-1]
    assert (archive.cut, archive.digest) == (1, None)
    (fault,) = archive.verify()
    assert fault.reason == "cut short: 1 members or more have no end"
