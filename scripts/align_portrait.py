"""Aligns the largest face of an image as in FFHQ, at 1024 px: the frame of the face models.

    python scripts/align_portrait.py IMAGE                 # writes IMAGE-aligned.png beside it
    python scripts/align_portrait.py IMAGE -o OUTPUT

An image that is aligned already is written unchanged. Fails with one line if no face can be coded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from invcomp.errors import InvcompError
from invcomp.perception.faces import find_faces, obstacle
from invcomp.preprocessing.alignment import align, is_aligned
from invcomp.preprocessing.reading import read_image

SIZE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="PNG or JPEG")
    arguments = parser.parse_args()
    source = arguments.image
    output = arguments.output or source.with_name(f"{source.stem}-aligned.png")
    try:
        image = read_image(source)
        faces = find_faces(image)
    except InvcompError as error:
        raise SystemExit(str(error)) from error
    face = faces[0] if faces else None
    if (found := obstacle(face)) or face is None:
        raise SystemExit(f"{source}: {found.message if found else 'no face'}")
    if not is_aligned(face.frame, image.size):
        image = align(image, face.frame, SIZE)
    image.save(output, quality=95, subsampling=0)
    print(output)


if __name__ == "__main__":
    main()
