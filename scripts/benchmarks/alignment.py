"""Measures how well faces are found and aligned: deviations of frames and eyes, and time.

    python scripts/benchmarks/alignment.py ALIGNED/ [ALIGNED/ ...] --photos PHOTOS/

Folders of aligned portraits show how far a frame that is found is from the whole image. All images,
turned, reduced and put on a canvas, show how far eyes are from where they were found in the
original. Figures are of the portraits that `calibration.json` does not name.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from invcomp.perception.faces import FoundFace, find_faces
from invcomp.preprocessing.alignment import LEFT_EYE, RIGHT_EYE, Frame, Points, is_aligned, sample

CALIBRATION = Path(__file__).resolve().parents[1] / "calibration.json"
ANGLES = (0, 20, -20, 40, -40, 90, 180)
CANVAS = 1.6  # sides of the square canvas, in longer sides of the image
SIDES = (800, 400, 200, 120, 80, 60, 40)  # px of the portrait on a canvas
CORNERS = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("aligned", nargs="+", type=Path, help="folders of aligned portraits")
    parser.add_argument("--photos", type=Path, help="folder of other photographs of faces")
    arguments = parser.parse_args()
    aligned = {path.stem: read(path) for folder in arguments.aligned for path in images(folder)}
    used = {name for names in json.loads(CALIBRATION.read_text()).values() for name in names}
    found = {name: face for name, image in aligned.items() if (face := largest(image))}
    print(f"aligned portraits: found {len(found)} of {len(aligned)}")
    for label, names in (
        ("calibration", [name for name in found if name in used]),
        ("others", [name for name in found if name not in used]),
    ):
        frames(label, [(found[name].frame, aligned[name].width) for name in names])
    recognised(aligned)
    folder = images(arguments.photos) if arguments.photos else []
    everything = [*aligned.values(), *(read(path) for path in folder)]
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


if __name__ == "__main__":
    main()
