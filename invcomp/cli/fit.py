"""invcomp fit: photographs to aligned faces, or to what else a model would be given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .jobs import Job, find_sources, is_folder, plan
from .options import Face, Force, Json, Output

if TYPE_CHECKING:
    from PIL import Image

    from ..perception.faces import FoundFace

LINE = 250  # a line is the longer side over this thick


def fit(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Images or folders.")],
    output: Output = None,
    size: Annotated[int, typer.Option(metavar="N", help="Side of the result in pixels.")] = 1024,
    face: Face = None,
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Write every face that can be compressed.")
    ] = False,
    show_found: Annotated[
        bool,
        typer.Option(
            "--show", help="Also write the photo with box, points and frame drawn on every face."
        ),
    ] = False,
    as_json: Json = False,
    force: Force = False,
) -> None:
    """Find the face in a photo and align it to the frame of the face models.

    `compress` does the same by itself. This shows what it sees.

    Without -o, each image is written next to its photo, as NAME.aligned.png. An image that is
    aligned already is only resized.
    """
    from ..errors import OptionError
    from ..preprocessing.reading import readable_suffixes
    from .images import image_format

    if face is not None and all_faces:
        raise OptionError("--face and --all-faces exclude each other")
    if not 16 <= size <= 8192:
        raise OptionError(f"size {size} is not in 16..8192")
    outcomes = show.Outcomes()
    sources = find_sources(images, readable_suffixes() - {".ivc"}, outcomes)
    into_folder = len(images) > 1 or is_folder(images[0])
    jobs = plan(sources, output, into_folder, ".aligned.png", force, outcomes)
    for job in jobs:
        image_format(job.target)  # fails on an unknown suffix
    run = _Run(size, face, all_faces, show_found, force)
    records: list[dict[str, Any]] = []
    with show.Meter() as meter:
        for done, job in enumerate(jobs):
            meter.show("photos", done, len(jobs), f"{done} of {len(jobs)}  {job.source.name}")
            records += run.fit(job, outcomes, quiet=as_json)
    if as_json:
        show.json_values(records)
    outcomes.finish()


@dataclass(frozen=True)
class _Run:
    """The options of one run of the command."""

    size: int
    face: int | None
    all_faces: bool
    draw: bool
    force: bool

    def fit(self, job: Job, outcomes: show.Outcomes, quiet: bool) -> list[dict[str, Any]]:
        """Fits one photo. Returns what was written for each face; errors go to `outcomes`."""
        from ..errors import FrameError, InvcompError
        from ..fitting import chosen_face
        from ..perception.faces import find_faces, obstacle
        from ..preprocessing.reading import read_image
        from .images import write_image

        records: list[dict[str, Any]] = []
        try:
            photo = read_image(job.source)
            faces = find_faces(photo)
            if self.draw:
                beside = job.target.with_name(f"{job.target.stem}-found.jpg")
                write_image(drawn(photo, faces), beside, self.force)
            if self.all_faces:
                chosen = [face for face in faces if obstacle(face) is None]
            else:
                chosen = [chosen_face(faces, self.face)]
            if not chosen:
                raise FrameError("no face that can be compressed was found")
            for face in chosen:
                target = numbered(job.target, faces.index(face) + 1 if self.all_faces else None)
                records.append(self._write(photo, face, job.source, target))
                records[-1] |= {"face": faces.index(face) + 1, "faces": len(faces)}
                if not quiet:
                    show.result(_line(records[-1]))
        except FrameError as error:
            outcomes.failed(f"{job.source}: {error}")
        except InvcompError as error:
            outcomes.failed(str(error))
        return records

    def _write(
        self, photo: Image.Image, face: FoundFace, source: Path, target: Path
    ) -> dict[str, Any]:
        from ..fitting import fit_face
        from ..preprocessing.frame import from_tensor
        from .images import write_image

        fitted = fit_face(photo, face.frame, self.size)
        write_image(from_tensor(fitted.tensor), target, self.force)
        return {
            "source": str(source),
            "target": str(target),
            "aligned_already": fitted.place is None,
            "box": [round(side, 1) for side in face.box],
            "centre": [round(face.frame.x, 1), round(face.frame.y, 1)],
            "side": round(face.frame.side, 1),
            "roll": round(face.roll, 1),
            "yaw": round(face.yaw, 1),
            "score": round(face.score, 3),
        }


def numbered(target: Path, number: int | None) -> Path:
    """The path of a face: its number stands before the suffixes. None: the path itself."""
    if number is None:
        return target
    suffix = "".join(target.suffixes[-2:]) if ".aligned" in target.suffixes else target.suffix
    return target.with_name(f"{target.name.removesuffix(suffix)}-{number}{suffix}")


def _line(record: dict[str, Any]) -> str:
    """One line about a face that was written."""
    x, y = record["centre"]
    line = f"{record['source']} -> {record['target']}  face {record['face']} of {record['faces']}"
    if record["aligned_already"]:
        return f"{line}  aligned already"
    return (
        f"{line}  frame of {record['side']:.0f} px around ({x:.0f}, {y:.0f})  "
        f"turned {record['roll']:+.0f}, away {record['yaw']:+.0f} degrees"
    )


def drawn(photo: Image.Image, faces: list[FoundFace]) -> Image.Image:
    """The photo with box, points, frame and number of every face; red if it cannot be coded."""
    from PIL import ImageDraw, ImageFont

    from ..perception.faces import obstacle

    shown = photo.copy()
    draw = ImageDraw.Draw(shown)
    width = max(max(photo.size) // LINE, 1)
    for number, face in enumerate(faces, 1):
        colour = "lime" if obstacle(face) is None else "red"
        draw.rectangle(face.box, outline="yellow", width=width)
        corners = [(float(x), float(y)) for x, y in face.frame.corners()]
        draw.line([*corners, corners[0]], fill=colour, width=2 * width, joint="curve")
        for x, y in face.points:
            draw.circle((float(x), float(y)), 0.6 * width, fill="cyan")
        font = ImageFont.load_default(max(10 * width, 12))
        text = f"{number}: {face.score:.2f}"
        draw.text(face.box[:2], text, "yellow", font, anchor="lb", stroke_width=width // 2)
    return shown
