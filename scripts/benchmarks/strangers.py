"""Images that a face model must not code without a word: none shows an upright, whole face.

Faces that are turned, or beside the centre, come with where they are: a model that looks for the
face must find them there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from invcomp.preprocessing.alignment import Frame

SIDE = 512  # px of images that are made here
TURNS = {
    "upside down": (Image.Transpose.ROTATE_180, 180),
    "sideways, clockwise": (Image.Transpose.ROTATE_270, 90),
    "sideways, anticlockwise": (Image.Transpose.ROTATE_90, -90),
}


@dataclass(frozen=True)
class Stranger:
    """An image that must be refused, fitted or doubted.

    Attributes:
        kind: of the image.
        name: of the image, unique.
        image: the image.
        portrait: the aligned portrait that it was made of, if it shows all of it.
        where: the square of the image that is this portrait.
    """

    kind: str
    name: str
    image: Image.Image
    portrait: Path | None = None
    where: Frame | None = None


def strangers(portraits: list[Path], clothing: list[Path]) -> Iterator[Stranger]:
    """All images, always the same ones."""
    for kind, make, count in (
        ("noise", noise, 24),
        ("gradient", gradient, 16),
        ("one colour", one_colour, 16),
        ("stripes", stripes, 16),
        ("text", text, 16),
        ("cartoon", cartoon, 24),
    ):
        yield from made(kind, make, count)
    for path in clothing:
        yield Stranger("clothing", path.stem, read(path))
    for number, path in enumerate(portraits):
        yield from of_portrait(path, number)


def made(kind: str, make: Callable[[np.random.Generator, int], Image.Image], count: int):  # type: ignore[no-untyped-def]
    for number in range(count):
        yield Stranger(
            kind, f"{kind} {number}", make(np.random.default_rng([number, len(kind)]), number)
        )


def read(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def noise(random: np.random.Generator, number: int) -> Image.Image:
    """White noise in colour or grey, in blocks of 1 to 64 px, blurred, or of one over frequency."""
    size = SIDE >> number % 7
    channels = 1 if number % 3 == 0 else 3
    values = random.integers(0, 256, (size, size, channels), dtype=np.uint8)
    if number % 4 == 3:  # as natural images have it
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
        spectrum = np.fft.fft2(random.normal(size=(SIDE, SIDE, 3)), axes=(0, 1))
        spectrum /= np.maximum(frequency, 1 / SIDE)[..., None]
        waves = np.fft.ifft2(spectrum, axes=(0, 1)).real
        values = (128 + 50 * waves / waves.std()).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(values, (*values.shape[:2], 3)).copy())
    smooth = Image.Resampling.BICUBIC if number % 2 else Image.Resampling.NEAREST
    return image.resize((SIDE, SIDE), smooth)


def gradient(random: np.random.Generator, number: int) -> Image.Image:
    """From one colour to another, in a line or around a point."""
    one, other = random.integers(0, 256, (2, 3))
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, SIDE)])
    angle = random.uniform(0, 2 * np.pi)
    part = (
        np.hypot(x, y) / 2**0.5 if number % 2 else (x * np.cos(angle) + y * np.sin(angle) + 1) / 2
    )
    part = part.clip(0, 1)[..., None]
    return Image.fromarray((one * (1 - part) + other * part).astype(np.uint8))


def one_colour(random: np.random.Generator, number: int) -> Image.Image:
    """Black, white, grey, a colour of skin, and others."""
    known = ["black", "white", "grey", (224, 172, 105)]
    colour = known[number] if number < len(known) else tuple(random.integers(0, 256, 3).tolist())
    return Image.new("RGB", (SIDE, SIDE), colour)


def stripes(random: np.random.Generator, number: int) -> Image.Image:
    """Stripes at an angle, or squares of a board, of 4 to 128 px."""
    one, other = random.integers(0, 256, (2, 3))
    width, angle = 4 * 2 ** random.uniform(0, 5), random.uniform(0, np.pi)
    x, y = np.meshgrid(*2 * [np.arange(SIDE)])
    across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    odd = (across // width + (along // width if number % 2 else 0)) % 2 == 1
    return Image.fromarray(np.where(odd[..., None], one, other).astype(np.uint8))


def text(random: np.random.Generator, number: int) -> Image.Image:
    """A page of letters, dark on light or light on dark."""
    dark, light = random.integers(0, 100, 3), random.integers(160, 256, 3)
    colours = [
        tuple(colour.tolist()) for colour in ((light, dark) if number % 3 else (dark, light))
    ]
    image = Image.new("RGB", (SIDE, SIDE), colours[0])
    size = int(12 * 2 ** random.uniform(0, 3.5))
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz      ,.ABC0123456789:)(o"))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for line in range(size // 2, SIDE, round(1.3 * size)):
        words = "".join(random.choice(letters, 2 * SIDE // size))
        draw.text((size // 2, line), words, colours[1], font)
    return image


def cartoon(random: np.random.Generator, number: int) -> Image.Image:
    """A face of few shapes: a head, hair, eyes with brows, nose and mouth; some are smileys."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(random.integers(80, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    skin = ("yellow", (224, 172, 105), (141, 85, 36), "white", "lightgreen", (255, 219, 172))
    colour, hair = skin[number % 6], tuple(random.integers(0, 160, 3).tolist())

    def oval(x: float, y: float, wide: float, high: float, fill, width: int = 3) -> None:  # type: ignore[no-untyped-def]
        box = [SIDE * (x - wide), SIDE * (y - high), SIDE * (x + wide), SIDE * (y + high)]
        draw.ellipse(box, fill, "black", width)

    wide, high = random.uniform(0.22, 0.36), random.uniform(0.28, 0.38)
    if number % 4:
        oval(0.5, 0.45, wide * 1.12, high * 1.1, hair)
    oval(0.5, 0.52, wide, high, colour)
    apart, eye = wide * random.uniform(0.35, 0.5), random.uniform(0.02, 0.06)
    for side in (-1, 1):
        oval(0.5 + side * apart, 0.46, eye, eye * random.uniform(0.6, 1.2), "white")
        oval(0.5 + side * apart, 0.46, eye / 2.2, eye / 2.2, "black")
        if number % 3:
            brow = [
                (SIDE * (0.5 + side * apart + d), SIDE * (0.46 - 1.8 * eye)) for d in (-eye, eye)
            ]
            draw.line(brow, hair, 8)
    if number % 2:
        nose = [(0.5, 0.5), (0.5 - eye, 0.58), (0.5 + eye * 0.6, 0.58)]
        draw.line([(SIDE * x, SIDE * y) for x, y in nose], "black", 4)
    mouth = [SIDE * (0.5 - apart), SIDE * 0.56, SIDE * (0.5 + apart), SIDE * 0.72]
    draw.arc(mouth, 15, 165, "darkred", 7)
    return image


def of_portrait(path: Path, number: int) -> Iterator[Stranger]:
    """Images made of an aligned portrait; each portrait gives some of the kinds."""
    image = read(path).resize((1024, 1024))
    label = list(TURNS)[number % 3]
    turn, angle = TURNS[label]
    kind, turned = label.split(",")[0], Frame(512, 512, 1024, angle)
    yield Stranger(kind, f"{path.stem} {label}", image.transpose(turn), path, turned)
    parts = {
        "strip of background": (0, 0, 1024, 190),
        "one eye": (300, 400, 500, 540),
        "chin": (280, 720, 744, 1024),
        "left half": (0, 0, 460, 1024),
        "right half": (564, 0, 1024, 1024),
        "hair": (312, 0, 712, 230),
        "mouth": (380, 650, 644, 800),
    }
    part = list(parts)[number % len(parts)]
    yield Stranger("part of a portrait", f"{path.stem} {part}", image.crop(parts[part]))
    random = np.random.default_rng(number)
    if number % 3 == 0:
        blurred = image.resize((8, 8), Image.Resampling.BOX)
        blurred = blurred.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        yield Stranger("blurred to 8 px", f"{path.stem} blurred", blurred)
    if number % 3 == 1:
        small = np.asarray(image.resize((SIDE, SIDE)), float)
        noisy = (small + random.normal(0, 150, small.shape)).clip(0, 255).astype(np.uint8)
        yield Stranger("heavily noisy", f"{path.stem} noisy", Image.fromarray(noisy))
    if number % 3 == 2:
        wide = noise(random, 7).filter(ImageFilter.GaussianBlur(4)).resize((1600, 700))
        left, top = 40 if number % 2 else 1060, 120
        wide.paste(image.resize((500, 500)), (left, top))
        where = Frame(left + 250, top + 250, 500)
        yield Stranger("beside the centre", f"{path.stem} beside", wide, path, where)
