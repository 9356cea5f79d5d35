"""Reading image files: orientation, formats, limits, and what is said about them."""

import builtins
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from invcomp.errors import ImageError, ImageWarning
from invcomp.preprocessing.frame import fit, to_pil
from invcomp.preprocessing.jxl import jxl_size
from invcomp.preprocessing.reading import LEAST_SIDE, read_image, readable_suffixes, upright_srgb

from .profiles import DISPLAY_P3, expected, rgb_profile, srgb_linear

ORIENTED = {  # what a camera stores of an upright image, by EXIF orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def noise(width: int = 48, height: int = 32) -> Image.Image:
    """Coarse noise without any symmetry, which lossy formats keep recognisable."""
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def difference(found: Image.Image, image: Image.Image) -> float:
    assert (found.mode, found.size, found.info) == ("RGB", image.size, {})
    return float(np.abs(np.asarray(found).astype(int) - np.asarray(image)).mean())


def quiet(path: Path) -> Image.Image:
    """The image of a file about which nothing is said."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_image(path)


def test_suffixes_include_those_of_plugins() -> None:
    assert {".jpg", ".png", ".webp", ".avif", ".heic", ".jxl"} <= readable_suffixes()
    assert ".pdf" not in readable_suffixes()  # Pillow writes it and does not read it


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif", "heic"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_every_orientation_is_turned_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    if suffix == "heic":
        pytest.importorskip("pillow_heif.HeifImagePlugin", reason="pillow-heif is not installed")
    turn, exif = ORIENTED[orientation], Image.Exif()
    exif[0x0112] = orientation
    stored = noise() if turn is None else noise().transpose(turn)
    stored.save(tmp_path / f"a.{suffix}", exif=exif.tobytes(), quality=95)
    found = quiet(tmp_path / f"a.{suffix}")
    assert difference(found, noise()) < 6
    assert difference(to_pil(found), noise()) < 6  # not turned twice


def test_a_image_comes_upright_in_rgb(tmp_path: Path) -> None:
    image = Image.new("L", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    turned = read_image(tmp_path / "a.jpg")
    assert (turned.mode, turned.size) == ("RGB", (20, 30))


@pytest.mark.parametrize("orientation", [0, 9, 70000])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    image = noise()
    image.getexif()[0x0112] = orientation
    assert difference(upright_srgb(image), noise()) == 0


def test_damaged_exif_data_does_not_stop_an_image(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png", exif=b"Exif\0\0" + b"II\x2a\0\xff\xff\xff\xff" + b"\x01" * 40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert difference(read_image(tmp_path / "a.png"), noise()) == 0


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", "heic"), ("RGB", "jxl"), ("RGB", "jp2"), ("RGB", "bmp"), ("CMYK", "jpg"),
     ("L", "jpg"), ("LA", "png"), ("P", "png"), ("1", "png"), ("P", "gif"), ("RGBA", "webp"),
     ("RGBA", "avif"), ("YCbCr", "jpg"), ("I;16", "png"), ("I;16", "tiff"), ("F", "tiff"),
     ("I", "pgm"), ("LAB", "tiff"), ("YCbCr", "tiff"), ("CMYK", "tiff")],
)  # fmt: skip
def test_modes_of_files(tmp_path: Path, mode: str, suffix: str) -> None:
    """Colours arrive, or greys where the mode has none; tests of colour.py are more exact."""
    if suffix == "heic":
        pytest.importorskip("pillow_heif.HeifImagePlugin", reason="pillow-heif is not installed")
    if suffix == "jxl":
        pytest.importorskip("pillow_jxl", reason="pillow-jxl-plugin is not installed")
    image, path = noise(), tmp_path / f"a.{suffix}"
    grey = image.convert("L")
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        stored = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert stored is not None
        del stored.info["icc_profile"]
    elif mode in ("I;16", "I"):
        kind = np.uint16 if mode == "I;16" else np.int32
        stored = Image.fromarray(np.asarray(grey).astype(kind) * 257)
    else:
        stored = image.convert(mode)
    stored.save(path, **({"quality": 95} if suffix in ("jpg", "webp", "avif", "heic") else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageWarning)  # CMYK, floats
        found = read_image(path)
    is_grey = mode in ("L", "LA", "I;16", "I", "F")
    reference = {"1": image.convert("1"), "P": image.convert("P")}.get(mode, image)
    reference = grey if is_grey else reference
    assert difference(found, reference.convert("RGB")) < 6


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (8000, 6000), (8000, 32)])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_sizes(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    Image.new("RGB", size, (10, 120, 230)).save(tmp_path / f"a.{suffix}")
    found = quiet(tmp_path / f"a.{suffix}")
    assert found.size == size
    assert np.abs(np.subtract(found.getpixel((5, 5)), (10, 120, 230))).max() <= 2


def test_a_profile_is_applied_to_a_file_and_to_a_pil_image(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png", icc_profile=rgb_profile(DISPLAY_P3))
    pixels = np.asarray(noise()).reshape(-1, 3)
    analytic = expected(pixels, DISPLAY_P3, srgb_linear).reshape(32, 48, 3)
    found = np.asarray(quiet(tmp_path / "a.png"))
    assert np.abs(found - analytic).max() <= 1
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(to_pil(image)), found)
        square = ((fit(image, 32)[0][0].permute(1, 2, 0).numpy() + 1) * 127.5).round()
    assert np.array_equal(square, found[:, 8:40])


def test_transparency_on_a_background(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (9, 9, 9, 0)).save(tmp_path / "a.png")
    assert quiet(tmp_path / "a.png").getpixel((3, 3)) == (255, 255, 255)
    assert read_image(tmp_path / "a.png", (1, 2, 3)).getpixel((3, 3)) == (1, 2, 3)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff", "avif"])
def test_the_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.warns(ImageWarning) as said:
        red, green, blue = read_image(path).getpixel((9, 9))
    assert red > 250 and green < 5 and blue < 5  # noqa: PT018
    assert [str(one.message) for one in said] == [f"{path}: several frames: the first is used"]


def test_the_views_of_one_camera_image_are_no_animation(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.mpo", save_all=True, append_images=[noise().rotate(180)])
    assert difference(quiet(tmp_path / "a.mpo"), noise()) < 10


def test_one_warning_has_everything(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], icc_profile=b"x")
    with pytest.warns(ImageWarning) as said:
        read_image(tmp_path / "a.png")
    (one,) = said
    assert str(one.message) == (
        f"{tmp_path / 'a.png'}: several frames: the first is used; "
        "damaged colour profile: taken as sRGB"
    )
    image = noise()
    image.info["icc_profile"] = b"x"
    with pytest.warns(ImageWarning, match=r"^damaged colour profile: taken as sRGB$"):
        fit(image, 32)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (LEAST_SIDE - 1, 400)])
def test_a_small_image_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(ImageError) as refused:
        read_image(tmp_path / "a.png")
    assert str(refused.value) == (
        f"{tmp_path / 'a.png'}: {size[0]} x {size[1]} pixels are too few: "
        "the shorter side needs at least 16"
    )


def test_the_smallest_image(tmp_path: Path) -> None:
    Image.new("RGB", (LEAST_SIDE, 5000)).save(tmp_path / "a.png")
    assert quiet(tmp_path / "a.png").size == (LEAST_SIDE, 5000)


def bilevel_png(path: Path, width: int, height: int) -> None:
    """A real PNG file of one colour, written row by row."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    packer, row = zlib.compressobj(1), bytes(1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def grey_jpeg(path: Path, width: int, height: int) -> None:
    """A real JPEG file of middle grey: the same six bits for each block. Sides: multiples of 8."""
    buffer = io.BytesIO()
    Image.new("L", (16, 16), 128).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    scan = data.index(b"\xff\xda") + 10
    blocks = width * height // 64
    path.write_bytes(bytes(data[:scan]) + b"\x28\xa2\x8a" * (blocks // 4) + b"\xff\xd9")


def peak(path: Path) -> tuple[str, float]:
    """What a process of its own says when it reads a file, and its largest memory in MB."""
    script = (
        "import re, sys, warnings\n"
        "from pathlib import Path\n"
        "from invcomp.preprocessing.reading import read_image\n"
        "from PIL import Image; Image.init()\n"
        "warnings.simplefilter('always')\n"
        "status = Path('/proc/self/status')\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', status.read_text())[1]) / 1024\n"
        "before = peak()\n"
        "try: said = read_image(Path(sys.argv[1])).size\n"
        "except Exception as error: said = error\n"
        "print(peak() - before, said)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux, whose ru_maxrss would count the parent's memory")
    command = [sys.executable, "-c", script, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    memory, said = ran.stdout.split(maxsplit=1)
    return said.strip() + ran.stderr, float(memory)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    bilevel_png(tmp_path / "a.png", 20_000, 20_000)
    said, megabytes = peak(tmp_path / "a.png")
    assert said.startswith(f"{tmp_path / 'a.png'}: the image has more than 89,478,485 pixels")
    assert "decompression bomb" in said
    assert megabytes < 20


def test_a_large_jpeg_is_reduced_as_it_is_decoded(tmp_path: Path) -> None:
    grey_jpeg(tmp_path / "a.jpg", 20_000, 20_000)
    said, megabytes = peak(tmp_path / "a.jpg")
    assert said.startswith("(5000, 5000)")
    assert "a.jpg: 20000 x 20000 pixels: reduced to 5000 x 5000" in said
    assert megabytes < 250  # 400 million pixels take 400 at least


def test_the_pixels_of_a_reduced_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(480, 320)
    image.save(tmp_path / "a.jpg", quality=95)
    for limit, scale in ((100_000, 2), (20_000, 4), (5_000, 8)):  # Pillow refuses or only warns
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.warns(ImageWarning, match=f"480 x 320 pixels: reduced to {480 // scale} x"):
            found = read_image(tmp_path / "a.jpg")
        assert difference(found, image.reduce(scale)) < 4


def test_a_jpeg_that_cannot_be_reduced_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libjpeg would hold all coefficients of these in memory."""
    noise(480, 320).save(tmp_path / "progressive.jpg", progressive=True)
    noise(480, 320).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    scan = data.index(b"\xff\xda")
    first = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"  # the header of a scan of the first channel
    (tmp_path / "scans.jpg").write_bytes(data[:scan] + first + data[scan + 14 :])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60_000)
    for name in ("progressive.jpg", "scans.jpg"):
        with pytest.raises(ImageError, match="480 x 320 are more than 60,000 pixels"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "webp", "avif", "tiff", "heic", "jxl"])
def test_other_formats_are_refused_above_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    if suffix == "heic":
        pytest.importorskip("pillow_heif.HeifImagePlugin", reason="pillow-heif is not installed")
    if suffix == "jxl":
        pytest.importorskip("pillow_jxl", reason="pillow-jxl-plugin is not installed")
    noise(480, 320).save(tmp_path / f"a.{suffix}")
    for limit in (100_000, 20_000):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ImageError, match=f"more than {limit:,} pixels: possibly a decom"):
            read_image(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(
    "size", [(480, 320), (256, 256), (8, 8), (1000, 3), (640, 480), (77, 4321)]
)
def test_the_size_of_a_jpeg_xl_image(size: tuple[int, int], container: bool) -> None:
    pytest.importorskip("pillow_jxl", reason="pillow-jxl-plugin is not installed")
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "a box of metadata"
    options = {"exif": exif.tobytes()} if container else {}
    Image.new("RGB", size).save(buffer, "JXL", use_container=container, **options)
    assert buffer.getvalue().startswith(b"\0\0\0\x0cJXL" if container else b"\xff\x0a")
    assert jxl_size(buffer.getvalue()) == size


@pytest.mark.parametrize("data", [b"", b"\xff", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), b"text"])
def test_no_jpeg_xl(data: bytes) -> None:
    assert jxl_size(data) is None


@pytest.mark.parametrize(
    ("suffix", "package"), [("heic", "pillow-heif"), ("jxl", "pillow-jxl-plugin")]
)
def test_a_format_whose_plugin_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str
) -> None:
    starts = {"heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "jxl": b"\xff\x0a"}
    (tmp_path / f"a.{suffix}").write_bytes(starts[suffix] + bytes(100))
    for name in ("pillow_heif.HeifImagePlugin", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImageError, match=rf"a\.{suffix}: .* needs the package {package}: pip"):
        read_image(tmp_path / f"a.{suffix}")


def broken_files(folder: Path) -> dict[str, Path]:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    noise.save(folder / "whole.png")
    data = (folder / "whole.png").read_bytes()
    sides = (2**30, 2**30)
    bitmap = struct.pack("<IHHIIiiHH", 54, 0, 0, 54, 40, *sides, 1, 24)
    contents = {
        "text.png": b"no image at all",
        "empty.jpg": b"",
        "cut.png": data[: len(data) // 2],
        "header.png": data[:20],
        "wide.bmp": b"BM" + bitmap + bytes(24),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    return {path.name: path for path in folder.iterdir() if path.name != "whole.png"}


@pytest.mark.parametrize(
    "name", ["text.png", "empty.jpg", "cut.png", "header.png", "wide.bmp", "folder.png"]
)
def test_a_file_that_is_no_whole_image(tmp_path: Path, name: str) -> None:
    path = broken_files(tmp_path)[name]
    with pytest.raises(ImageError, match=name):
        read_image(path)


def damaged(folder: Path) -> dict[str, Any]:
    """Files that are no whole images, and what is said about them."""
    for suffix in ("jpg", "png", "webp", "gif", "tiff"):
        noise(300, 300).save(folder / f"cut.{suffix}")
        data = (folder / f"cut.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("no image at all")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "folder.jpg").mkdir()
    return {
        "cut.jpg": "the image cannot be read: image file is truncated",
        "cut.png": "the image cannot be read: image file is truncated",
        "cut.webp": "",
        "cut.gif": "the image cannot be read: image file is truncated",
        "cut.tiff": "",
        "text.jpg": "not an image that Pillow can read",
        "empty.jpg": "the file is empty",
        "folder.jpg": "cannot be read: Is a directory",
        "missing.jpg": "cannot be read: No such file or directory",
    }


def test_files_that_are_no_whole_images(tmp_path: Path) -> None:
    for name, reason in damaged(tmp_path).items():
        with pytest.raises(ImageError) as refused:
            read_image(tmp_path / name)
        assert str(refused.value).startswith(f"{tmp_path / name}: {reason}")
        assert "\n" not in str(refused.value)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    noise().save(path)
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything
        opened: Callable[..., Any] = io.open

        def refuse(file: Any, *arguments: Any, **options: Any) -> Any:
            if file == path:
                raise PermissionError(13, "Permission denied")
            return opened(file, *arguments, **options)

        monkeypatch.setattr(io, "open", refuse)
        monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(ImageError, match=r"a\.png: cannot be read: Permission denied"):
        read_image(path)


def test_a_pipe(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    reader, writer = os.pipe()
    os.write(writer, (tmp_path / "a.png").read_bytes())
    os.close(writer)
    try:
        assert difference(quiet(Path(f"/dev/fd/{reader}")), noise()) == 0
    finally:
        os.close(reader)


def test_no_other_program_is_started(tmp_path: Path) -> None:
    """PostScript is a program, which Pillow passes to Ghostscript, whatever the file's name is."""
    source = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n"
    for name in ("a.jpg", "a.eps"):
        (tmp_path / name).write_bytes(source)
        with pytest.raises(ImageError, match="not an image that Pillow can read"):
            read_image(tmp_path / name)
    assert not readable_suffixes() & {".eps", ".ps", ".wmf", ".h5", ".mpg"}
    assert readable_suffixes() >= {".jpg", ".png", ".heic", ".jxl", ".avif", ".tif", ".psd"}


def test_damaged_exif_for_which_pillow_refuses_a_file(tmp_path: Path) -> None:
    """A resolution that is text, beside an orientation."""
    image, path = noise(), tmp_path / "a.jpg"
    entries = [(0x0112, 3, 1, 6 << 16), (0x011A, 2, 1, 0), (0x0128, 3, 1, 2 << 16)]
    directory = b"".join(struct.pack(">HHII", *entry) for entry in entries)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 3) + directory + bytes(4)
    image.save(path, exif=exif, quality=95)
    data = path.read_bytes()
    plain = data.index(b"JFIF")  # whose resolution would come first
    path.write_bytes(data[:2] + data[data.index(b"Exif") - 4 :] if plain < 20 else data)
    with pytest.raises(UnidentifiedImageError):
        Image.open(path)
    with pytest.warns(ImageWarning, match="damaged EXIF data"):
        assert difference(read_image(path), image) < 6


def tiff(values: np.ndarray) -> bytes:
    """A TIFF of 64 x 64 values in one strip."""
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = [(256, 64), (257, 64), (258, 32), (259, 1), (262, 1), (273, 122), (277, 1),
            (279, values.nbytes), (339, kind)]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4)
    return head + values.astype(values.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize(
    ("kind", "top"),
    [
        (np.uint32, 255),
        (np.uint32, 65535),
        (np.uint32, 2**31 + 5),
        (np.uint32, 2**32 - 1),
        (np.int32, 255),
        (np.int32, 65535),
        (np.int32, 10**6),
        (np.int32, 2**31 - 1),
    ],
)
def test_tiffs_of_32_bits(tmp_path: Path, kind: type, top: int) -> None:
    """Not white, not black, and never without a word."""
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(np.round(ramp * top).astype(kind)))
    with pytest.warns(ImageWarning, match=f"32-bit values: taken as 0 to {top}"):
        found = np.asarray(read_image(path))[..., 0]
    assert np.abs(found - 255 * ramp).max() <= 1.01
