"""Finds the faces of a photograph: where they are, and how they are turned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..device import default_modes
from ..preprocessing.alignment import (
    LEFT_EYE,
    RIGHT_EYE,
    Frame,
    Points,
    ffhq_frame,
    sample,
)
from ..preprocessing.frame import to_pil
from . import face_detector, face_mesh
from .face_mesh import FaceNetworks, load_face_networks

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

SCORE, PRESENCE = 0.5, 0.5  # least score of the detector, least probability of the mesh
SMALLEST = 0.05  # faces are looked for down to so many shorter sides of the image
IN_TILE = 0.2  # a face this wide is found in a tile surely
OVERLAP = 0.35  # of neighbouring tiles
BYSTANDER = 0.2  # faces smaller than so many times the largest are not looked for
FINEST = 16  # tiles in a longer side at most, so that time is bounded
TURNS = (0, 180)  # of the image; the detector takes faces turned by 90 degrees
SURE = 0.85  # score of a face that is upright surely: upside down at most 0.81, else from 0.85 on
CROP = 1.5  # the mesh's square, in sizes of the face
# iterations of the mesh, each in the crop that the one before found; degrees by which that crop is
# turned, for a mean that is more exact
ITERATIONS = ((0,), (0,), (-5, 0, 5))
SAME = 0.4  # overlap of two boxes of one face
# pairs of mesh points that mirror each other: eyes, cheeks, mouth
PAIRS = ((33, 263), (133, 362), (234, 454), (61, 291))
BATCH = 32

# limits of a face that can be coded
LEAST_SIDE = 64  # px of its frame
MOST_BEYOND, MOST_OUTSIDE = 0.03, 0.3  # sides, share of the area, of the frame
MOST_YAW = 45  # degrees


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face of a photograph; pixels are those of the upright photograph.

    Attributes:
        box: (left, top, right, bottom) of the points.
        score: of the detector, 0.5 to 1.
        points: of the mesh, [468, 2] in pixels.
        roll: degrees by which the face is turned clockwise in the plane of the photograph.
        yaw: degrees by which it is turned away, positive to the right of the photograph.
        frame: FFHQ's frame of the face.
        outside: share of the frame's area that lies beyond the photograph, 0 to 1.
        beyond: how far the face itself leaves the photograph, in sides of the frame.
    """

    box: Box
    score: float
    points: Points
    roll: float
    yaw: float
    frame: Frame
    outside: float
    beyond: float


class Reason(Enum):
    """Why a photograph is not coded by its face."""

    NO_FACE = "no face"
    TOO_SMALL = "too small"
    CUT_OFF = "cut off"
    TURNED_AWAY = "turned away"


@dataclass(frozen=True)
class Obstacle:
    """What stands against coding a face.

    Attributes:
        reason: of the obstacle.
        message: one line that says it, with measure and limit.
    """

    reason: Reason
    message: str


def obstacle(face: FoundFace | None) -> Obstacle | None:
    """What stands against coding a face, or None; None is a face that was not found."""
    if face is None:
        return Obstacle(Reason.NO_FACE, "no face was found")
    if face.frame.side < LEAST_SIDE:
        text = f"its frame is {face.frame.side:.0f} pixels wide, at least {LEAST_SIDE} are needed"
        return Obstacle(Reason.TOO_SMALL, f"the face is too small: {text}")
    for part, share, limit in (
        ("the face reaches", face.beyond, MOST_BEYOND),
        ("its frame lies", face.outside, MOST_OUTSIDE),
    ):
        if share > limit:
            text = f"{part} {share:.0%} beyond it, at most {limit:.0%} are allowed"
            return Obstacle(Reason.CUT_OFF, f"the edge of the image cuts the face off: {text}")
    if abs(face.yaw) > MOST_YAW:
        text = f"{abs(face.yaw):.0f} degrees, at most {MOST_YAW} are allowed"
        return Obstacle(Reason.TURNED_AWAY, f"the face is turned away: {text}")
    return None


def find_faces(image: Any) -> list[FoundFace]:
    """All faces of a photograph, the largest first.

    It is searched from coarse to fine, down to faces of a twentieth of its shorter side (in long
    panoramas of an eightieth of the longer one), but not for faces smaller than a fifth of the
    largest. If none is surely upright, the photograph is searched upside down too.

    Args:
        image: as `Codec.compress` takes it.

    Raises:
        ImageError: an image of another kind, or one that cannot be read completely.
        BundleError: the shipped networks are missing or damaged.
    """
    photo = to_pil(image)
    networks = face_networks()
    with torch.no_grad(), torch.autocast("cpu", enabled=False), _one_thread():
        found: list[FoundFace] = []
        for turn in TURNS:
            found = max(found, _search(photo, networks, turn), key=_best_score)
            if _best_score(found) >= SURE:
                break
    return sorted(found, key=lambda face: -face.frame.side)


def _best_score(faces: list[FoundFace]) -> float:
    return max((face.score for face in faces), default=0.0)


@lru_cache(maxsize=1)
@default_modes(torch.device("cpu"))
def face_networks() -> FaceNetworks:
    """The shipped networks. Loading sets modes of the whole process: do it in the main thread.

    Raises:
        BundleError: they are missing or damaged.
    """
    return load_face_networks().to(memory_format=torch.channels_last)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch: for networks this small, more of them wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _search(photo: Image.Image, networks: FaceNetworks, turn: float) -> list[FoundFace]:
    """The faces of a photograph that is turned by `turn` degrees, by tiles of shrinking sides."""
    found: list[FoundFace] = []
    for tile in _tile_sides(photo.size):
        largest = max((_width(face.box) for face in found), default=0.0)
        if tile * 2 * IN_TILE < largest * BYSTANDER:
            break
        for score, points in _candidates(photo, networks, tile, turn):
            if any(_covered(_box_of(points), face.box) > SAME for face in found):
                continue
            face = _refined(photo, networks, score, points)
            if face and not any(_covered(face.box, other.box) > SAME for other in found):
                found.append(face)
    return found


def _tile_sides(size: tuple[int, int]) -> Iterator[float]:
    """Sides of square tiles in pixels: from all of an image to the smallest faces in it."""
    longer, shorter = max(size), min(size)
    finest = min(longer / (SMALLEST / IN_TILE * shorter), FINEST)
    steps = math.ceil(math.log2(finest))
    for step in range(steps + 1):
        tile = longer / finest ** (step / steps)
        if step == 0 or tile >= face_detector.SIZE / 2:
            yield tile


def _candidates(
    photo: Image.Image, networks: FaceNetworks, tile: float, turn: float
) -> list[tuple[float, Points]]:
    """Scores and points [8, 2] of the detector, in pixels, without duplicates, best first.

    Args:
        photo: the image.
        networks: the detector is used.
        tile: the side of the tiles in pixels.
        turn: their angle in degrees.
    """
    cos, sin = abs(math.cos(math.radians(turn))), abs(math.sin(math.radians(turn)))
    sides = np.array([[cos, sin], [sin, cos]]) @ photo.size
    whole = Frame(photo.width / 2, photo.height / 2, float(max(*sides, tile)), turn)
    scale = face_detector.SIZE / tile
    pixels = round(whole.side * scale)
    tiles = list(_tiles(np.asarray(sample(photo, whole, pixels, detail=1))))
    found = []
    for start in range(0, len(tiles), BATCH):
        corners, images = zip(*tiles[start : start + BATCH], strict=True)
        scores, points = networks.detector(_stacked(images) * 2 - 1)
        for index, anchor in (scores > SCORE).nonzero().tolist():
            inside = points[index, anchor].double().numpy() * face_detector.SIZE
            placed = whole.in_image((inside + corners[index]) / pixels)
            placed[1] = inside[1] / scale  # a size, which has no place
            found.append((float(scores[index, anchor]), placed))
    best: list[tuple[float, Points]] = []
    for score, placed in sorted(found, key=lambda each: -each[0]):
        box = _box_of(placed)
        if not any(_covered(box, _box_of(other)) > SAME for _, other in best):
            best.append((score, placed))
    return best


def _tiles(image: Any) -> Iterator[tuple[tuple[int, int], Any]]:
    """Corner and pixels of overlapping tiles of an image [S, S, 3]; black ones are left out."""
    size = face_detector.SIZE
    room = len(image) - size
    starts = np.linspace(0, room, 1 + math.ceil(room / (size * (1 - OVERLAP)))).round().astype(int)
    for top in starts:
        for left in starts:
            pixels = image[top : top + size, left : left + size]
            if pixels.any():
                yield (left, top), pixels


def _refined(
    photo: Image.Image, networks: FaceNetworks, score: float, candidate: Points
) -> FoundFace | None:
    """The face at a candidate by the mesh, or None if the mesh sees none there."""
    centre, side = candidate[0], CROP * float(candidate[1].max())
    across = candidate[3] - candidate[2]
    for turns in ITERATIONS:
        angle = math.degrees(math.atan2(across[1], across[0]))
        squares = [Frame(float(centre[0]), float(centre[1]), side, angle + turn) for turn in turns]
        crops = [np.asarray(sample(photo, square, face_mesh.SIZE)) for square in squares]
        meshes, presence = networks.mesh(_stacked(crops))
        if presence.mean() < PRESENCE:
            return None
        mesh = meshes[len(turns) // 2].double().numpy()  # the one that is not turned
        points = np.mean(
            [
                square.in_image(each[:, :2].double().numpy() / face_mesh.SIZE)
                for square, each in zip(squares, meshes, strict=True)
            ],
            axis=0,
        )
        across = points[list(RIGHT_EYE)].mean(0) - points[list(LEFT_EYE)].mean(0)
        level = Frame(float(centre[0]), float(centre[1]), side, angle)
        inside = level.in_frame(points)
        low, high = inside.min(0), inside.max(0)
        centre, side = level.in_image((low + high)[None] / 2)[0], CROP * side * max(high - low)
    frame = ffhq_frame(points)
    low, high = points.min(0), points.max(0)
    return FoundFace(
        box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
        score=score,
        points=points,
        roll=frame.angle,
        yaw=_yaw(mesh),
        frame=frame,
        outside=_outside(frame, photo.size),
        beyond=max(float(max(*-low, *(high - photo.size))) / frame.side, 0.0),
    )


def _stacked(images: Sequence[Any]) -> Tensor:
    """Images of uint8 [H, W, 3] as [N, 3, H, W] in [0, 1]."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # channels last, as is fastest
    return pixels.float() / 255


def _yaw(mesh: Points) -> float:
    """Degrees by which a mesh [468, 3] is turned away, by the depth of mirrored points."""
    left, right = (mesh[list(side)] for side in zip(*PAIRS, strict=True))
    across = (right - left).sum(0)
    return math.degrees(math.atan2(across[2], across[0]))


def _outside(frame: Frame, size: tuple[int, int]) -> float:
    """Share of the frame beyond an image of `size`, by a grid of points."""
    middles = (np.arange(64) + 0.5) / 64
    points = frame.in_image(np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2))
    return float(1 - ((points >= 0) & (points < size)).all(1).mean())


def _box_of(points: Points) -> Box:
    (left, top), (right, bottom) = points[0] - points[1] / 2, points[0] + points[1] / 2
    return float(left), float(top), float(right), float(bottom)


def _width(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _covered(one: Box, other: Box) -> float:
    """The common area of two boxes, in areas of the smaller one."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, other)]
    return max(width, 0.0) * max(height, 0.0) / max(min(areas), 1e-9)
