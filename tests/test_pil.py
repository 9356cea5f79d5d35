"""The Pillow plug-in: opening is lazy, saving compresses, what is wrong comes as Pillow has it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from safetensors.torch import load_file, save_file

import invcomp.pil
from invcomp import Goal, InvcompError, SearchOptions
from invcomp.bundle import read_bundle, read_metadata
from invcomp.codec import Codec
from invcomp.photo import conventional_file, with_photo
from invcomp.preprocessing.alignment import Frame

from .conventional.images import drawn

ROOT = Path(__file__).resolve().parents[1]
SEARCH = SearchOptions(iterations=4, starts=1)


@pytest.fixture
def file(tiny_model: Path, images: list[Path], tmp_path: Path) -> Path:
    path = tmp_path / "a.ivc"
    with Image.open(images[0]) as image:
        image.save(path, model=tiny_model, search=SEARCH)
    return path


def test_save_and_open(file: Path, tiny_model: Path) -> None:
    with Image.open(file) as image:
        assert (image.format, image.mode, image.size) == ("IVC", "RGB", (64, 64))
        assert image.get_format_mimetype() == "image/x-ivc"
        assert image.info["bundle"] == read_bundle(tiny_model).fingerprint[:4].hex()
        decoded = Codec(read_bundle(tiny_model), "cpu").decompress(file.read_bytes())
        assert np.array_equal(np.asarray(image), np.asarray(decoded))


def test_saving_within_a_goal_and_where_it_matters(
    tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    def saved(**options: object) -> bytes:
        path = tmp_path / "a.ivc"
        with Image.open(images[0]) as image:
            image.save(path, model=tiny_model, search=SEARCH, **options)
        return path.read_bytes()

    assert len(saved(goal=Goal(bytes=60))) <= 60
    assert saved(mask="faces-oval") != saved()


def test_opening_decodes_nothing(file: Path, tiny_model: Path) -> None:
    invcomp.pil._decoder.cache_clear()
    with Image.open(file) as image:
        assert invcomp.pil._decoder.cache_info().misses == 0
        image.load()
        assert invcomp.pil._decoder.cache_info().misses == 1
    with Image.open(file) as image:
        image.load()
        assert invcomp.pil._decoder.cache_info().misses == 1  # the decoder was kept


def test_the_size_comes_from_the_bundles_metadata(
    file: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invcomp.pil._resolution.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr("invcomp.bundle.read_bundle", lambda path: pytest.fail("weights read"))
        with Image.open(file) as image:
            assert image.size == (64, 64)
    metadata = read_metadata(tiny_model)
    del metadata["resolution"]  # as in bundles of before
    (tmp_path / "models").mkdir()
    save_file(load_file(tiny_model), tmp_path / "models" / "old.ivm", metadata)
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    invcomp.pil._resolution.cache_clear()
    with Image.open(file) as image:
        assert image.size == (64, 64)


def test_the_image_has_its_original_size_and_works_as_any_other(
    tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    stream = io.BytesIO()
    with Image.open(images[1]) as image:
        image.save(stream, "IVC", model=tiny_model, search=SEARCH)
    stream.seek(0)
    with Image.open(stream) as image:
        assert image.size == (90, 90)
        assert image.resize((10, 10)).size == (10, 10)
        image.convert("L").save(tmp_path / "grey.png")


def test_photos_and_conventional_files(file: Path, tiny_model: Path) -> None:
    data = with_photo(file.read_bytes(), [], drawn(300, 200), [Frame(90, 80, 70)], "webp", 200)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (300, 200)
        expected = Codec(read_bundle(tiny_model), "cpu").decompress(data)
        assert np.array_equal(np.asarray(image), np.asarray(expected))
    for size in ((300, 200), (30, 20)):
        invcomp.pil._decoder.cache_clear()
        with Image.open(io.BytesIO(conventional_file(drawn(*size), "webp", 900))) as image:
            assert image.size == size
            assert image.info["bundle"] == "00000000"
            assert np.abs(np.asarray(image, int) - np.asarray(drawn(*size))).mean() < 15
        assert invcomp.pil._decoder.cache_info().misses == 0


def test_options_reach_the_codec(tiny_model: Path, images: list[Path]) -> None:
    sizes = []
    with Image.open(images[0]) as image:
        for options in ({"quality": 0}, {"q_step": 0.005}):
            stream = io.BytesIO()
            image.save(stream, "IVC", model=tiny_model, search=SEARCH, **options)
            sizes.append(stream.tell())
        with pytest.raises(InvcompError, match="quality"):
            image.save(io.BytesIO(), "IVC", model=tiny_model, quality=101)
    assert sizes[0] < sizes[1]


def test_a_failed_save_leaves_no_file(images: list[Path], tmp_path: Path) -> None:
    with Image.open(images[0]) as image, pytest.raises(InvcompError, match="no-such-model"):
        image.save(tmp_path / "a.ivc", model="no-such-model")
    assert list(tmp_path.iterdir()) == []


def test_damaged_files(file: Path) -> None:
    data = file.read_bytes()
    with pytest.raises(OSError, match="cut short"):
        Image.open(io.BytesIO(data[:-2]))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"XX" + data[2:]))


def test_a_bundle_that_is_not_here(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "empty"))
    invcomp.pil._resolution.cache_clear()
    with pytest.raises(OSError, match=file.read_bytes()[3:7].hex()):
        Image.open(file)


def test_the_import_is_all_it_takes(file: Path, tiny_cache: Path) -> None:
    """In a fresh interpreter: the plug-in's entry point is `import invcomp.pil`."""
    script = (
        "import sys, invcomp.pil\n"
        "from PIL import Image\n"
        "assert 'torch' not in sys.modules\n"
        "image = Image.open(sys.argv[1])\n"
        "from invcomp import SearchOptions\n"
        "image.save(sys.argv[2], model=sys.argv[3], search=SearchOptions(iterations=2, starts=1))\n"
        "print(Image.open(sys.argv[2]).convert('RGB').size)\n"
    )
    arguments = [str(file), str(file.with_name("b.ivc")), str(tiny_cache / "models" / "tiny.ivm")]
    environment = {**os.environ, "INVCOMP_CACHE": str(tiny_cache), "PYTHONPATH": str(ROOT)}
    output = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=environment
    )
    assert output.stdout == "(64, 64)\n", output.stderr
