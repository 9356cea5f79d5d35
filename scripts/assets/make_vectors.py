"""Writes tests/bitstream/vectors.json: models, files with their integers, and bad files.

    python scripts/assets/make_vectors.py

The file is for any implementation of docs/format.md; a test compares it with this script.
"""

import argparse
import json
from binascii import crc_hqx
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from invcomp.bitstream import CONVENTIONAL, FACES, PHOTO, IvcFile, Layer, encode
from invcomp.bitstream.ivc import NO_BUNDLE
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.entropy.tables import PriorTables, frequencies_from_probabilities
from invcomp.photo import CodedFace, FacesLayer, PhotoLayer, Place

PATH = Path(__file__).resolve().parents[2] / "tests" / "bitstream" / "vectors.json"
FINGERPRINT = bytes.fromhex("0badcafe")
LARGEST = 2**31 - 1

MODELS = {
    # The model of the worked example in docs/format.md: frequencies of -1, 0, 1 and the escape.
    "example": PriorTables(
        frequencies=np.array(
            [[1 << 20, (1 << 24) - (1 << 22), 1 << 20, 1 << 21], [1 << 22] * 4], dtype=np.uint32
        ),
        first_ratio=0,
        ratio_stride=16,
        scales=np.array([0, 0, -8, -16, -24, -32], dtype=np.int16),
    ),
    # Frequencies that are not powers of two, ratios beyond both ends of the tables.
    "odd": PriorTables(
        frequencies=frequencies_from_probabilities(
            np.array(
                [
                    [0, 1, 1000, 1, 0, 0],
                    [1, 3, 9, 3, 1, 1],
                    [2, 3, 5, 4, 3, 2],
                ],
                dtype=np.float64,
            )
        ),
        first_ratio=-5,
        ratio_stride=7,
        scales=np.array([40, 11, 9, 5, 2, 0, -3, -8, -13, -100, -255, -300], dtype=np.int16),
    ),
    # Enough coordinates for a payload of several hundred bytes.
    "long": PriorTables(
        frequencies=np.array([[1, (1 << 24) - 3, 1, 1]], dtype=np.uint32),
        first_ratio=0,
        ratio_stride=1,
        scales=np.zeros(60, dtype=np.int16),
    ),
    "single": PriorTables(
        frequencies=np.array([[(1 << 24) - 1, 1]], dtype=np.uint32),
        first_ratio=0,
        ratio_stride=1,
        scales=np.zeros(3, dtype=np.int16),
    ),
}
# The worked example's model, for a generator with ten classes.
MODELS["classes"] = replace(MODELS["example"], classes=10)
# The odd model, with scales that rise and fall with the step.
MODELS["sloped"] = replace(
    MODELS["odd"],
    slopes=np.array([0, 256, 128, 100, 1, -1, -3, 77, 300, 512, 900, 1100], dtype=np.int16),
)

# name, model, integers, step index, original size
FILES: list[tuple[str, str, list[int], int, tuple[int, int] | None]] = [
    ("worked example", "example", [1, -2, 0, 1, 0, 0], 20, None),
    ("nothing but zeros", "example", [0] * 6, 20, None),
    ("original size", "example", [-1, 0, 7, 0, 0, 1], 20, (640, 480)),
    ("largest sides", "example", [0, 1, 0, 0, 0, 0], 20, (65535, 1)),
    ("coarsest step", "odd", [3, -1, 2, 0, 1, 0, 0, -1, 0, 0, 0, 0], 0, None),
    ("finest step", "odd", [2, -2, 1, 0, -1, 1, 0, 2, -2, 1, 0, -1], 255, None),
    ("middle step", "odd", [-2, 1, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0], 13, None),
    ("escapes side by side", "odd", [3, -3, 4, 5, -6, 9, 10, 17, -18, 1000, 0, 2], 40, None),
    ("largest integers", "odd", [LARGEST, -LARGEST, *[0] * 9, LARGEST], 40, None),
    ("zeros at the end", "odd", [-1, 2, 0, 1, -1, *[0] * 7], 40, None),
    ("payload past 254 bytes", "long", [1 << 30, *[-LARGEST] * 49, *[0] * 10], 0, None),
    ("payload of 255 bytes", "long", [*[1 << 20] * 31, 1, 2, *[0] * 27], 0, None),
    # The number that constriction writes, one byte shorter and rounded up, is just outside.
    ("interval just missed", "odd", [-4, -2, 4, 0, 0, 1, -3, -1, -2, 0, -2, 2], 54, None),
    ("slopes, a coarse step", "sloped", [2, -2, 1, 0, -1, 1, 0, 0, 0, 0, 0, 0], 3, None),
    ("slopes, a middle step", "sloped", [2, -2, 1, 0, -1, 1, 0, 2, -2, 1, 0, -1], 85, None),
    ("slopes, the finest step", "sloped", [2, -2, 1, 0, -1, 1, 0, 2, -2, 1, 0, -1], 255, None),
    ("all escaped", "single", [1, -1, 2], 7, None),
]


# name, layers: for the file "original size"
LAYERS: list[tuple[str, tuple[Layer, ...]]] = [
    ("an unknown layer", (Layer(5, b"detail"),)),
    ("empty layers", (Layer(3, b""), Layer(4, b""))),
    ("as many layers as there can be", tuple(Layer(tag, b"x" * 40 * tag) for tag in range(3, 10))),
]

# streams of an image of 16 x 12 pixels whose colours run from dark green to orange
STREAMS = {
    "avif": "1a00f00b1d8787859ddc71c702c540007579f15bcbc57422bfc1e6607b7fd310",
    "webp": "4000f00bf001000fc07c25b0027400cf83dbf1f98000fee349dcc4a44e31d8bc8c2813e9482d0f1000",
    "jxl": "8058b0010015880600e00019501a00800a9551c60d5ecef57cf9a1c362dac67586b6dab6"
    "b08431f18c83858432639b507df3f003fd381fbe6153668c4d012a6148720b",
}
# name, places, step indices and integers of further faces, stream: for the file "worked example"
PHOTOS: list[tuple[str, list[Place], list[tuple[int, list[int]]], str]] = [
    ("a photo of one face", [Place(30000, 20000, 5000, 300)], [], STREAMS["avif"]),
    (
        "a photo of three faces",
        [Place(0, 65535, 1, 65535), Place(9, 8, 65535, 0), Place(65535, 0, 256, 32768)],
        [(30, [0, 1, 0, -1, 0, 0]), (255, [9] * 6)],
        STREAMS["webp"],
    ),
    ("a photo of which only the face is known", [Place(30000, 20000, 5000, 300)], [], ""),
]

# name, class, integers: for the model "classes" at step index 20
CLASS_FILES: list[tuple[str, int, list[int]]] = [
    ("class 0 and zeros", 0, [0] * 6),
    ("class 0", 0, [1, -2, 0, 1, 0, 0]),
    ("class 7", 7, [1, -2, 0, 1, 0, 0]),
    ("the last class, whose frequency is the rest", 9, [0, 0, 0, 0, 0, -1]),
]


def sealed(data: bytes) -> bytes:
    """The file with a correct checksum, whatever else is wrong with it."""
    return data[:8] + crc_hqx(data[:8] + data[10:], 0xFFFF).to_bytes(2, "big") + data[10:]


def good_files() -> list[dict[str, Any]]:
    """All entries of FILES with their bytes, and files with parts that a reader may skip."""
    files = [_file(*case) for case in FILES] + [_of_class(*case) for case in CLASS_FILES]
    sized = next(file for file in files if file["name"] == "original size")
    # The options are at byte 10; 0x2a is an unknown option that may be skipped.
    data = bytes.fromhex(str(sized["file"]))
    unknown = sealed(data[:16] + b"\x2a\x03abc" + data[16:])
    files.append({**sized, "name": "unknown option", "file": unknown.hex()})
    for name, layers in LAYERS:
        layered = replace(IvcFile.unpack(data), layers=layers).pack()
        files.append({**sized, "name": name, "file": layered.hex()})
    padded = replace(IvcFile.unpack(data), padded=True).pack()
    files.append({**sized, "name": "padded", "padded": True, "file": padded.hex()})
    return files + [_of_photo(files[0], *case) for case in PHOTOS]


def _of_photo(
    first: dict[str, Any],
    name: str,
    places: list[Place],
    faces: list[tuple[int, list[int]]],
    stream: str,
) -> dict[str, Any]:
    entropy = LaplaceMixture(MODELS["example"])
    coded = tuple(
        CodedFace(step, entropy.encode(np.array(values), step, 0)) for step, values in faces
    )
    photo = PhotoLayer((4000, 3000), tuple(places), bytes.fromhex(stream))
    layers = [Layer(FACES, FacesLayer(coded).pack())] if faces else []
    layers.append(Layer(PHOTO, photo.pack()))
    file = replace(IvcFile.unpack(bytes.fromhex(first["file"])), layers=tuple(layers))
    about = {
        "size": photo.size,
        "places": [list(vars(place).values()) for place in places],
        "more": [{"step_index": step, "integers": values} for step, values in faces],
        "stream": stream,
    }
    return {**first, "name": name, "photo": about, "file": file.pack().hex()}


def conventional_files() -> list[dict[str, Any]]:
    """Files that need no bundle."""
    files = []
    for codec, stream in STREAMS.items():
        for size in (None, (640, 480)):
            layers = (Layer(CONVENTIONAL, bytes.fromhex(stream)),)
            file = IvcFile(NO_BUNDLE, 0, (b"",), size, layers).pack()
            name = codec + (" with an original size" if size else "")
            about = {"codec": codec, "size": [16, 12], "original_size": size, "stream": stream}
            files.append({"name": name, **about, "file": file.hex()})
    return files


def _file(
    name: str,
    model: str,
    integers: list[int],
    step_index: int,
    size: tuple[int, int] | None,
) -> dict[str, Any]:
    entropy = LaplaceMixture(MODELS[model])
    data = encode(np.array(integers), step_index, entropy, FINGERPRINT, size)
    return {
        "name": name,
        "model": model,
        "step_index": step_index,
        "original_size": size,
        "integers": integers,
        "file": data.hex(),
    }


def _of_class(name: str, class_index: int, integers: list[int]) -> dict[str, Any]:
    entropy = LaplaceMixture(MODELS["classes"])
    data = encode(np.array(integers), 20, entropy, FINGERPRINT, class_index=class_index)
    return {
        "name": name,
        "model": "classes",
        "step_index": 20,
        "original_size": None,
        "class": class_index,
        "integers": integers,
        "file": data.hex(),
    }


def bad_files() -> list[dict[str, str]]:
    """Files of the model "example" that must be rejected, and the expected errors."""
    entropy = LaplaceMixture(MODELS["example"])
    good = encode(np.array([1, -2, 0, 1, 0, 0]), 20, entropy, FINGERPRINT)
    whole = encode(np.array([1, -2, 0, 1, 0, -9]), 20, entropy, FINGERPRINT)

    def made_of(payload: str) -> bytes:
        return IvcFile(FINGERPRINT, 20, (bytes.fromhex(payload),)).pack()

    def headed(layout: int, rest: str) -> bytes:
        return sealed(b"\xc9V" + bytes([layout]) + good[3:10] + bytes.fromhex(rest))

    def optional(options: str) -> bytes:
        return headed(0x28, options)

    def layered(*layers: tuple[int, str]) -> bytes:
        parts = tuple(Layer(tag, bytes.fromhex(payload)) for tag, payload in layers)
        return replace(IvcFile.unpack(good), layers=parts).pack()

    def conventional(header: str, payload: str = "", **fields: Any) -> bytes:
        parts = tuple(Layer(*each) for each in fields.pop("more", ()))
        stream = Layer(CONVENTIONAL, bytes.fromhex(STREAMS["webp"]))
        fingerprint, step = bytes.fromhex(header[:8]), int(header[8:], 16)
        layers = (*parts, stream)
        return IvcFile(fingerprint, step, (bytes.fromhex(payload),), layers=layers, **fields).pack()

    photo, side = ("BitstreamError", "photo"), ("BitstreamError", "side of 0")
    beside = "BitstreamError", "something else"
    place, one = "7530 4e20 1388 012c", "0fa0 0bb8"

    cases = [
        ("nothing", b"", "BitstreamError", "truncated"),
        ("another magic", b"\x89P" + good[2:], "BitstreamError", "not an .ivc file"),
        ("newer version", sealed(good[:2] + b"\x30" + good[3:]), "VersionError", "version 3"),
        ("version 0", sealed(good[:2] + b"\x00" + good[3:]), "BitstreamError", "version 0"),
        ("half a header", good[:9], "BitstreamError", "truncated"),
        ("no payload", good[:10], "BitstreamError", "checksum"),
        ("no last byte", good[:-1], "BitstreamError", "checksum"),
        ("no last byte of a longer payload", whole[:-1], "BitstreamError", "checksum"),
        ("a byte more", good + b"\0", "BitstreamError", "checksum"),
        ("a bit flipped", good[:-1] + bytes([good[-1] ^ 1]), "BitstreamError", "checksum"),
        ("endless length", headed(0x21, "01" + "ff" * 9), "BitstreamError", "truncated"),
        ("no tags", headed(0x21, ""), "BitstreamError", "truncated"),
        ("no lengths", headed(0x21, "01"), "BitstreamError", "truncated"),
        ("less than a length says", headed(0x21, "01 04 74"), "BitstreamError", "truncated"),
        ("a layer that must be known", headed(0x21, "80 00"), "VersionError", "layer 128"),
        ("layers out of order", headed(0x22, "0201 00 00"), "BitstreamError", "out of order"),
        ("a layer with the tag 0", headed(0x21, "00 00"), "BitstreamError", "out of order"),
        ("an option that must be known", optional("8000 00"), "VersionError", "option 128"),
        ("options without end", optional("2a00"), "BitstreamError", "truncated"),
        ("options out of order", optional("0300 0100 00"), "BitstreamError", "out of order"),
        ("an option twice", optional("2a00 2a00 00"), "BitstreamError", "out of order"),
        ("a size of 3 bytes", optional("0103 000909 00"), "BitstreamError", "no sense"),
        ("a side of 0", optional("0104 00000009 00"), "BitstreamError", "no sense"),
        ("padding without a size", optional("8100 00"), "BitstreamError", "padding"),
        ("padding of a byte", optional("0104 00090009 810100 00"), "BitstreamError", "padding"),
        ("no faces", layered((1, ""), (2, one + place)), "BitstreamError", "truncated"),
        ("half a face", layered((1, "1e 02 74"), (2, one + 2 * place)), "BitstreamError", "faces"),
        ("half a place", layered((2, one + place[:-2])), *photo),
        ("no place of a second face", layered((1, "1e 00"), (2, one + place)), *photo),
        ("a photo without a height", layered((2, "0fa0 0000" + place)), *side),
        ("a face without a side", layered((2, one + "7530 4e20 0000 012c")), *side),
        ("a stream with a bundle", conventional("0badcafe00"), *beside),
        ("a stream with a step", conventional("0000000001"), *beside),
        ("a stream with a payload", conventional("0000000000", "74"), *beside),
        ("a stream with a layer", conventional("0000000000", more=[(3, b"")]), *beside),
        ("a padded stream", conventional("0000000000", original_size=(9, 9), padded=True), *beside),
        ("a zero too many", made_of("7400"), "BitstreamError", "shortest form"),
        ("bytes nobody reads", made_of("00" * 99 + "01"), "BitstreamError", "shortest"),
        ("a point past the end", made_of("ff" * 8), "BitstreamError", "means nothing"),
        ("an endless escape", made_of("ffffffffe8"), "BitstreamError", "past 32 bits"),
        # The encodings of 2^31 and -2^31 before zeros.
        ("2^31", made_of("ffffffff6ffffffe01"), "BitstreamError", "past 32 bits"),
        ("-2^31", made_of("ffffffff6fffffff01"), "BitstreamError", "past 32 bits"),
    ]
    return [
        {"name": name, "model": "example", "file": data.hex(), "error": error, "says": says}
        for name, data, error, says in cases
    ]


def vectors() -> dict[str, Any]:
    """All of vectors.json."""
    models = {
        name: {
            "frequencies": tables.frequencies.tolist(),
            "first_ratio": tables.first_ratio,
            "ratio_stride": tables.ratio_stride,
            "scales": tables.scales.tolist(),
            **({"classes": tables.classes} if tables.classes > 1 else {}),
            **({} if tables.slopes is None else {"slopes": tables.slopes.tolist()}),
        }
        for name, tables in MODELS.items()
    }
    about = "Test vectors of the .ivc format, version 2, for docs/format.md"
    return {
        "about": about,
        "models": models,
        "files": good_files(),
        "conventional_files": conventional_files(),
        "bad_files": bad_files(),
    }


def text() -> str:
    """The text of vectors.json, one line per model and file."""
    parts = vectors()
    about, models = json.dumps(parts.pop("about")), parts.pop("models").items()
    model_lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(model)}" for name, model in models)
    lists = [f'"{key}": [\n' + ",\n".join(map(json.dumps, parts[key])) + "\n]" for key in parts]
    return (
        f'{{\n"about": {about},\n"models": {{\n{model_lines}\n}},\n' + ",\n".join(lists) + "\n}\n"
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=str(__doc__).splitlines()[0]).parse_args()
    PATH.write_text(text())
    print(f"wrote {PATH.name}")
