"""Writes tests/bitstream/vectors.json: models, files with their integers, and bad files.

    python scripts/assets/make_vectors.py

The file is for any implementation of docs/format.md; a test compares it with this script.
"""

import json
from binascii import crc_hqx
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from invcomp.bitstream import IvcFile, Layer, encode
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.entropy.tables import PriorTables, frequencies_from_probabilities

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
    ("empty layers", (Layer(1, b""), Layer(2, b""))),
    ("as many layers as there can be", tuple(Layer(tag, b"x" * 40 * tag) for tag in range(1, 8))),
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
    return {"about": about, "models": models, "files": good_files(), "bad_files": bad_files()}


def text() -> str:
    """The text of vectors.json, one line per model and file."""
    parts = vectors()
    about, models = json.dumps(parts["about"]), parts["models"].items()
    model_lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(model)}" for name, model in models)
    good, bad = (",\n".join(map(json.dumps, parts[key])) for key in ("files", "bad_files"))
    return (
        f'{{\n"about": {about},\n"models": {{\n{model_lines}\n}},\n'
        f'"files": [\n{good}\n],\n"bad_files": [\n{bad}\n]\n}}\n'
    )


if __name__ == "__main__":
    PATH.write_text(text())
    print(f"wrote {PATH.name}")
