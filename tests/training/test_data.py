"""Images to train on: every kind of source and file, what is left out, the cache, the order."""

import io
import json
import os
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from invcomp.errors import DatasetError, OptionError
from invcomp.fitting import fit_image
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.preprocessing.frame import FACE, FRAMES, fit, from_tensor
from invcomp.training import data
from invcomp.training.data import NO_FACE, Dataset, open_dataset

R = 16


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default cache of one test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("INVCOMP_CACHE", str(folder))
    return folder / "datasets"


def noise(seed: int, width: int = 24, height: int = 20) -> Image.Image:
    """Coarse noise: no two seeds alike, and what JPEG keeps of it is recognisable."""
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, count: int) -> Path:
    """A folder of `count` images, 0.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        (folder / f"{seed}.png").write_bytes(png(noise(seed)))
    return folder


def image_of(dataset: Dataset, name: str) -> np.ndarray:
    """The named image, [R, R, 3] as integers that can be subtracted."""
    batch = dataset.batch([dataset.names.index(name)])
    return batch[0].permute(1, 2, 0).numpy().astype(int)


def fitted(image: Image.Image) -> np.ndarray:
    return np.asarray(from_tensor(fit(image, R)[0])).astype(int)


def numbered(count: int) -> Dataset:
    """A dataset of `count` images without files, each filled with its number."""
    images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    names = [str(index) for index in range(count)]
    return Dataset(images.repeat(3, 3), np.arange(count), names, [])


def test_a_folder_of_many_formats_and_modes(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "below" / "deeper").mkdir(parents=True)
    image = noise(1)
    image.save(folder / "a.png")
    image.save(folder / "b.jpg", quality=95, subsampling=0)
    image.save(folder / "below" / "c.WEBP", "WEBP", lossless=True)
    image.save(folder / "below" / "deeper" / "d.bmp")
    image.save(folder / "no-suffix", "TIFF")
    image.convert("L").save(folder / "grey.png")
    image.quantize(8).save(folder / "palette.gif")
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    image.convert("1").save(folder / "bilevel.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(folder / "16.png")
    transparent = image.convert("RGBA")
    transparent.putalpha(0)
    transparent.save(folder / "alpha.png")
    (folder / ".hidden.png").write_bytes(b"passed over")
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_bytes(b"passed over")
    dataset = open_dataset(folder, R)
    assert dataset.bad == []
    assert sorted(dataset.names) == [
        "16.png", "a.png", "alpha.png", "b.jpg", "below/c.WEBP", "below/deeper/d.bmp",
        "bilevel.png", "cmyk.jpg", "grey.png", "no-suffix", "palette.gif",
    ]  # fmt: skip
    assert (len(dataset), dataset.resolution) == (11, R)
    expected = fitted(image)
    for name in ("a.png", "below/c.WEBP", "below/deeper/d.bmp", "no-suffix"):
        assert np.array_equal(image_of(dataset, name), expected)
    assert np.abs(image_of(dataset, "b.jpg") - expected).mean() < 3
    assert np.abs(image_of(dataset, "palette.gif") - expected).mean() < 40
    grey = fitted(image.convert("L"))
    assert np.array_equal(image_of(dataset, "grey.png"), grey)
    assert np.abs(image_of(dataset, "16.png") - grey).max() <= 1
    assert (image_of(dataset, "alpha.png") == 255).all()


def test_a_batch_is_channels_last(tmp_path: Path) -> None:
    dataset = open_dataset(fill(tmp_path / "photos", 3), R)
    batch = dataset.batch(np.array([2, 0]))
    assert (batch.shape, batch.dtype) == ((2, 3, R, R), torch.uint8)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch[1], dataset.batch([0])[0])
    assert dataset.batch([]).shape == (0, 3, R, R)
    batch.zero_()  # the batch is a copy
    assert dataset.batch([2, 0]).any()
    with pytest.raises(IndexError):
        dataset.batch([3])


def test_every_orientation_is_turned_upright(tmp_path: Path) -> None:
    upright = noise(1, 16, 16)
    turned = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }
    for orientation, image in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(tmp_path / f"{orientation}.png", exif=exif)
    dataset = open_dataset(tmp_path, R)
    assert len(dataset) == 8
    for orientation in turned:
        assert np.array_equal(image_of(dataset, f"{orientation}.png"), np.asarray(upright))


def test_an_archive_gives_the_same_as_its_folder(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "photos", 4)
    archive = tmp_path / "photos.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        file.writestr("inner/", b"")
        for path in folder.iterdir():
            file.write(path, f"inner/{path.name}")
        file.writestr("__MACOSX/inner/._0.png", b"passed over")
        file.writestr("../../outside.png", png(noise(9)))  # only a name: nothing is extracted
    dataset = open_dataset(archive, R)
    assert sorted(dataset.names) == ["../../outside.png", *(f"inner/{i}.png" for i in range(4))]
    assert np.array_equal(image_of(dataset, "inner/2.png"), fitted(noise(2)))
    assert sorted(tmp_path.iterdir()) == [folder, archive]
    assert len(list(cache.iterdir())) == 2


def test_a_list_is_relative_to_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "set" / "photos", 3)
    elsewhere = fill(tmp_path / "elsewhere", 1) / "0.png"
    lines = f"photos/0.png\r\n\n  photos/2.png \n{elsewhere}\nphotos/missing.png\nphotos\n"
    (tmp_path / "set" / "list.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    monkeypatch.chdir(tmp_path)
    dataset = open_dataset(Path("set/list.txt"), R)
    assert sorted(dataset.names) == sorted(["photos/0.png", "photos/2.png", str(elsewhere)])
    assert dataset.bad == [
        ("photos", "not a file"),
        ("photos/missing.png", "No such file or directory"),
    ]


def test_bad_files_are_named_and_not_fatal(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 2)
    whole = png(noise(7, 200, 200))
    (folder / "bomb.png").write_bytes(declaring(whole, 40_000, 40_000))
    (folder / "large.png").write_bytes(declaring(whole, 10_000, 10_000))  # Pillow only warns
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to("nothing.png")
    dataset = open_dataset(folder, R)
    assert sorted(dataset.names) == ["0.png", "1.png"]
    reasons = dict(dataset.bad)
    assert [name for name, _ in dataset.bad] == sorted(
        {path.name for path in folder.iterdir()} - {"0.png", "1.png"}
    )
    assert "decompression bomb" in reasons["bomb.png"]
    assert "decompression bomb" in reasons["large.png"]
    assert reasons["empty.jpg"] == "the file is empty"
    assert reasons["notes.txt"] == "not an image that Pillow can read"
    assert "truncated" in reasons["truncated.png"]
    assert reasons["pipe.png"] == "not a file"
    assert all("\n" not in reason and "0x" not in reason for reason in reasons.values())
    assert open_dataset(folder, R).bad == dataset.bad  # from the cache too


def declaring(whole: bytes, width: int, height: int) -> bytes:
    """A PNG file with another size in its header."""
    header = b"IHDR" + struct.pack(">II", width, height) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def test_members_that_claim_what_they_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "LARGEST_FILE", 1 << 20)
    archive = tmp_path / "photos.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        file.writestr("0.png", png(noise(0)))
        file.writestr("1.png", png(noise(1)))
        file.writestr("flipped.png", png(noise(2)))
        file.writestr("huge.png", bytes(2 << 20))
        file.writestr("liar.png", bytes(1 << 26))
        file.writestr("lzma.png", png(noise(3)), ZIP_LZMA)
    damaged = bytearray(archive.read_bytes())
    entry = damaged.rindex(b"liar.png") - 46  # of the directory
    struct.pack_into("<I", damaged, entry + 24, 1000)  # 64 MiB unpack out of "1,000 bytes"
    entry = damaged.rindex(b"flipped.png") - 46
    struct.pack_into("<I", damaged, entry + 16, 0)  # its CRC
    archive.write_bytes(damaged)
    tracemalloc.start()
    dataset = open_dataset(archive, R)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24
    assert sorted(dataset.names) == ["0.png", "1.png"]
    reasons = dict(dataset.bad)
    assert sorted(reasons) == ["flipped.png", "huge.png", "liar.png", "lzma.png"]
    assert "2,097,152 bytes exceed the limit of" in reasons["huge.png"]
    assert "CRC" in reasons["flipped.png"]
    assert "deflate" in reasons["lzma.png"]


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "photos", 2)
    monkeypatch.setattr(data, "LARGEST_FILE", 100_000)
    (folder / "film.mov").write_bytes(bytes(100_001))
    assert open_dataset(folder, R).bad == [
        ("film.mov", "100,001 bytes exceed the limit of 100,000")
    ]


def test_the_cache_is_found_by_content(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "photos", 4)
    (folder / "notes.txt").write_text("no image")
    first = steps(folder)
    assert len(first) == 2 * (5 + 1)  # hashed and fitted
    images, about = sorted(cache.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert json.loads(about.read_text())["images"] == 4
    assert np.load(images).shape == (4, R, R, 3)
    written = images.stat().st_mtime_ns
    before = open_dataset(folder, R)

    folder = folder.rename(tmp_path / "moved")
    (folder / "0.png").rename(folder / "zero.png")
    (folder / "notes.txt").rename(folder / "a.txt")
    assert len(steps(folder)) == 5 + 1  # hashed alone
    after = open_dataset(folder, R)
    assert images.stat().st_mtime_ns == written
    assert [name.replace("zero", "0") for name in after.names] == before.names
    assert torch.equal(after.batch(range(4)), before.batch(range(4)))
    assert after.bad == [("a.txt", "not an image that Pillow can read")]

    (folder / "1.png").write_bytes(png(noise(10)))
    changed = open_dataset(folder, R)
    assert np.array_equal(image_of(changed, "1.png"), fitted(noise(10)))
    assert len(list(cache.iterdir())) == 4
    assert open_dataset(folder, 2 * R).resolution == 2 * R
    assert len(list(cache.iterdir())) == 6


def steps(source: Path) -> list[tuple[str, int, int]]:
    """What is reported while a source is opened."""
    seen: list[tuple[str, int, int]] = []
    open_dataset(source, R, progress=lambda *step: seen.append(step))
    return seen


def test_images_are_fitted_in_any_frame(tmp_path: Path, cache: Path) -> None:
    """A face is found and aligned; what has none is left out, from the cache too."""
    folder = fill(tmp_path / "photos", 2)  # without a face
    portrait = Image.open(pretrained_path("portrait.jpg")).convert("RGB").resize((240, 240))
    photos = {f"face{left}.png": Image.new("RGB", (600, 400), "grey") for left in (0, 300)}
    for name, photo in photos.items():
        photo.paste(portrait.rotate(8, expand=True), (int(name[4:-4]), 60))
        photo.save(folder / name)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 2)
    found = {}
    for frame in (*FRAMES, FACE):
        found[frame] = open_dataset(folder, R, frame=frame)
        names = photos if frame == FACE else {path.name for path in folder.iterdir()}
        assert sorted(found[frame].names) == sorted(names)
        for name, photo in photos.items():
            expected = from_tensor(fit_image(photo, R, frame).tensor)
            assert np.array_equal(image_of(found[frame], name), np.asarray(expected).astype(int))
    assert found[FACE].bad == [("0.png", NO_FACE), ("1.png", NO_FACE)]
    assert np.array_equal(open_dataset(folder, R).images, found["center-crop"].images)
    assert len(list(cache.iterdir())) == 2 * len(FRAMES)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == threads + 2
    torch.set_num_threads(threads)


def test_a_cache_of_ones_own(tmp_path: Path, cache: Path) -> None:
    open_dataset(fill(tmp_path / "photos", 2), R, cache=tmp_path / "own")
    assert len(list((tmp_path / "own").iterdir())) == 2
    assert not cache.exists()


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, cache: Path, suffix: str, damage: str
) -> None:
    folder = fill(tmp_path / "photos", 3)
    expected = open_dataset(folder, R).batch(range(3))
    path = next(path for path in cache.iterdir() if path.suffix == suffix)
    whole = path.read_bytes()
    path.unlink()  # a mapped file is replaced, not cut
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    assert torch.equal(open_dataset(folder, R).batch(range(3)), expected)
    assert path.read_bytes() == whole


def test_what_breaks_off_leaves_no_cache(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "photos", 5)
    calls = iter(range(100))

    def stop(stage: str, done: int, total: int) -> None:
        if next(calls) == 8:  # while they are fitted
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_dataset(folder, R, progress=stop)
    assert list(cache.iterdir()) == []
    assert len(open_dataset(folder, R)) == 5


def test_equal_files_are_each_a_image(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 2)
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    dataset = open_dataset(folder, R)
    assert len(dataset) == 3
    assert np.array_equal(image_of(dataset, "copy.png"), image_of(dataset, "0.png"))


@pytest.mark.parametrize("resolution", [0, -8, 4, 24, 100])
def test_resolutions_that_are_refused(tmp_path: Path, resolution: int) -> None:
    with pytest.raises(OptionError, match="power of two"):
        open_dataset(tmp_path, resolution)


def test_sources_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "damaged.zip").write_bytes(b"PK no archive")
    (tmp_path / "damaged.txt").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "photo.png").write_bytes(png(noise(0)))
    for name in ("damaged.zip", "damaged.txt", "missing.zip", "missing.txt"):
        with pytest.raises(DatasetError, match=f"{name}: cannot be read: ."):
            open_dataset(tmp_path / name, R)
    for name in ("missing", "photo.png"):
        with pytest.raises(DatasetError, match="not a folder"):
            open_dataset(tmp_path / name, R)


def test_fewer_than_two_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="0 usable and 0 unusable"):
        open_dataset(tmp_path / "empty", R)
    folder = fill(tmp_path / "photos", 1)
    (folder / "b.png").write_text("no image")
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"1 usable and 1 unusable files \(b.png: not an"):
            open_dataset(folder, R)


def test_a_split_is_disjoint_and_repeatable(tmp_path: Path) -> None:
    dataset = open_dataset(fill(tmp_path / "photos", 12), R)
    train, held_out = dataset.split(4, seed=3)
    assert (len(train), len(held_out)) == (8, 4)
    assert sorted(train.names + held_out.names) == sorted(dataset.names)
    for part in (train, held_out):
        for name in part.names:
            assert np.array_equal(image_of(part, name), image_of(dataset, name))
    assert dataset.split(4, seed=3)[1].names == held_out.names
    assert dataset.split(4, seed=4)[1].names != held_out.names
    inner, outer = train.split(2, seed=3)  # a part can be split too
    assert sorted(inner.names + outer.names) == sorted(train.names)
    assert len(dataset.split(0, seed=1)[1]) == 0
    for count in (-1, 11, 12):
        with pytest.raises(OptionError, match="at least 2"):
            dataset.split(count, seed=3)


@settings(deadline=None, max_examples=100)
@given(
    count=st.integers(2, 40),
    seed=st.integers(0, 2**63),
    pieces=st.lists(st.integers(0, 50), max_size=8),
    start=st.integers(0, 10**9),
)
def test_the_stream_is_the_same_in_any_pieces(
    count: int, seed: int, pieces: list[int], start: int
) -> None:
    dataset = numbered(count)
    whole = dataset.shuffled(seed, start, sum(pieces))
    seen = start
    for piece in pieces:
        expected = whole[seen - start : seen - start + piece]
        assert np.array_equal(dataset.shuffled(seed, seen, piece), expected)
        seen += piece
    assert whole.shape == (sum(pieces),)
    epoch = start // count
    order = dataset.shuffled(seed, epoch * count, count)
    assert sorted(order) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    dataset = numbered(100)
    orders = [dataset.shuffled(seed, 100 * epoch, 100) for seed in (1, 2) for epoch in (0, 1, 2)]
    assert len({order.tobytes() for order in orders}) == 6
    assert dataset.shuffled(1, 0, 6).tolist() == [7, 10, 35, 41, 18, 4]  # for ever
    batch = dataset.batch(dataset.shuffled(1, 250, 30))
    assert batch[:, 0, 0, 0].tolist() == dataset.shuffled(1, 250, 30).tolist()


def test_an_order_is_made_once_and_not_for_every_batch() -> None:
    dataset = numbered(50)
    data._permutation.cache_clear()
    for step in range(40):
        dataset.shuffled(0, 3 * step, 3)
    assert data._permutation.cache_info().misses == 3  # epochs
