"""Measures whether images that show no face, or not where it should be, are told from portraits.

    python scripts/benchmarks/domain.py PORTRAITS/... --clothing CLOTHING/ -o runs/domain
    python scripts/benchmarks/domain.py PORTRAITS/... --clothing CLOTHING/ -o runs/domain --code 40
    python scripts/benchmarks/domain.py PORTRAITS/ -o runs/crop --centre --code 40

PORTRAITS are folders of aligned portraits, CLOTHING has photographs without people. Strangers are
made of both (strangers.py). Each must be refused before it is coded, because no face that can be
coded is found; or fitted right, because the face is found where it is, turned by what it was
turned; or doubted after it was coded, by the limits of the model's domain. The portraits must not
be.

--code N codes up to N images of each kind that are not refused, by a quick search; they are fitted
by the face that was found, or with --centre, for which no face is looked for, by their centre.
A killed run continues where it stopped. Writes images.jsonl, coded.jsonl, the decoded images and
strangers.csv (in the form of docs/results).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from strangers import Stranger, read, strangers
from tables import write

from invcomp.bitstream import IvcFile
from invcomp.codec import Codec
from invcomp.domain import DomainLimits
from invcomp.inversion.options import SearchOptions
from invcomp.lookup import load_bundle
from invcomp.perception.faces import FoundFace, find_faces, obstacle
from invcomp.preprocessing.alignment import align
from invcomp.preprocessing.frame import CENTRE_CROP

CLOTHES = 60
ANGLE, APART = 5, 0.1  # degrees and sides of the frame by which a face may be off
REFUSED, RIGHT, OPEN = "refused", "fitted right", "left to the limits"
PORTRAIT = "portrait"


def every(folders: list[Path], clothing: list[Path]) -> Iterator[Stranger]:
    """The strangers, and the portraits themselves."""
    portraits = [path for folder in folders for path in sorted(folder.glob("*.jpg"))]
    yield from strangers(portraits, clothing)
    for path in portraits:
        yield Stranger(PORTRAIT, path.stem, read(path))


@cache
def truth(portrait: Path) -> FoundFace | None:
    return next(iter(find_faces(read(portrait))), None)


def outcome(stranger: Stranger) -> dict[str, Any]:
    """What becomes of an image before it is coded."""
    face = next(iter(find_faces(stranger.image)), None)
    if reason := obstacle(face):
        return {"outcome": REFUSED, "reason": reason.message}
    assert face is not None
    found = {"score": face.score, "roll": face.roll, "side": face.frame.side}
    if stranger.portrait is None or stranger.where is None:
        return {"outcome": OPEN, **found}
    known = truth(stranger.portrait)
    if known is None:
        return {"outcome": OPEN, **found}
    width = read(stranger.portrait).width
    centre = np.array([[known.frame.x, known.frame.y]]) / width
    apart = stranger.where.in_image(centre)[0] - (face.frame.x, face.frame.y)
    turned = abs((face.roll - known.roll - stranger.where.angle + 180) % 360 - 180)
    right = turned <= ANGLE and np.hypot(*apart) <= APART * face.frame.side
    return {"outcome": RIGHT if right else OPEN, "turned": turned, **found}


def load(path: Path) -> dict[str, dict[str, Any]]:
    lines = path.read_text().splitlines() if path.is_file() else []
    return {row["name"]: row for row in map(json.loads, lines)}


def keep(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def code(
    codec: Codec, stranger: Stranger, centre: bool, search: SearchOptions, folder: Path
) -> Any:
    """What the decoded image of a stranger reaches."""
    image = stranger.image
    if not centre:
        image = align(image, find_faces(image)[0].frame, codec.bundle.resolution)
    encoded = next(codec.encode([image], frame=CENTRE_CROP, search=search))
    encoded.decoded.resize((256, 256)).save(folder / f"{stranger.name}.jpg")
    step = IvcFile.unpack(encoded.data).step_index
    return {"step_index": step, "lpips": encoded.lpips, "identity": encoded.identity}


def table(
    rows: list[dict[str, Any]], coded: dict[str, dict[str, Any]], limits: DomainLimits | None
) -> list[dict[str, str]]:
    """The rows of docs/results/strangers.csv: one for each kind of image."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        of_kind, reached = counts[row["kind"]], coded.get(row["name"])
        result = row["outcome"]
        if reached and limits and (result == OPEN or row["kind"] == PORTRAIT):
            values = (reached[name] for name in ("step_index", "lpips", "identity"))
            result = "missed" if limits.doubt(*values) is None else "doubted"
        of_kind["images"] += 1
        of_kind[result] += 1
    portraits = counts.pop(PORTRAIT, Counter())
    total = sum(counts.values(), Counter[str]())
    names = {REFUSED: "refused", RIGHT: "fitted", "doubted": "doubted", "missed": "not_doubted"}
    names = {"images": "images", **names, OPEN: "not_coded"}
    kinds = [*counts.items(), ("all that must be caught", total), ("portraits", portraits)]
    return [
        {"kind": kind, **{name: str(found[key]) for key, name in names.items()}}
        for kind, found in kinds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+", help="folders of aligned portraits")
    parser.add_argument("--clothing", type=Path, help="a folder of photographs without people")
    parser.add_argument("--except", nargs="*", default=[], help="of them, which show a face")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/domain"))
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--code", type=int, default=0, help="so many images of each kind at most")
    parser.add_argument("--centre", action="store_true", help="look for no face")
    parser.add_argument("--iterations", type=int, default=12)
    arguments = parser.parse_args()
    output = arguments.output
    (output / "decoded").mkdir(parents=True, exist_ok=True)
    clothing = sorted(arguments.clothing.rglob("*.jpg")) if arguments.clothing else []
    clothing = [path for path in clothing if path.stem not in getattr(arguments, "except")]
    clothing = clothing[:: max(len(clothing) // CLOTHES, 1)][:CLOTHES]
    known, coded = load(output / "images.jsonl"), load(output / "coded.jsonl")
    bundle = load_bundle(arguments.model)
    codec = Codec(bundle, compiled=None)
    search = SearchOptions(fast=True, iterations=arguments.iterations)
    done: Counter[str] = Counter()
    for stranger in every(arguments.portraits, clothing):
        row = {"name": stranger.name, "kind": stranger.kind}
        if stranger.name not in known:
            found = {"outcome": OPEN} if arguments.centre else outcome(stranger)
            known[stranger.name] = {**row, **found}
            keep(output / "images.jsonl", known[stranger.name])
            if found["outcome"] != REFUSED:
                print(known[stranger.name], flush=True)
        to_code = known[stranger.name]["outcome"] == OPEN or stranger.kind == PORTRAIT
        if to_code and done[stranger.kind] < arguments.code:
            done[stranger.kind] += 1
            if stranger.name not in coded:
                reached = code(codec, stranger, arguments.centre, search, output / "decoded")
                coded[stranger.name] = {**row, **reached}
                keep(output / "coded.jsonl", coded[stranger.name])
                print(coded[stranger.name], flush=True)
    write(output / "strangers.csv", table(list(known.values()), coded, bundle.settings.limits))


if __name__ == "__main__":
    main()
