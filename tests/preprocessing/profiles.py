"""ICC profiles made here, byte by byte from ICC.1, and what they mean by formula."""

import struct
from collections.abc import Callable

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
ADOBE_GAMMA = 563 / 256


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """[3, 3]: linear RGB with a white of D65 to XYZ."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    x, y = D65
    return columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y])


def srgb_linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_encoded(linear: np.ndarray) -> np.ndarray:
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def expected(
    colours: np.ndarray,
    primaries: tuple[tuple[float, float], ...],
    linear: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """sRGB levels of colours [N, 3] of 8 bits in a space of these primaries and this curve."""
    xyz = linear(colours / 255) @ to_xyz(primaries).T
    return 255 * srgb_encoded(xyz @ np.linalg.inv(to_xyz(SRGB)).T)


def rgb_profile(primaries: tuple[tuple[float, float], ...], gamma: float | None = None) -> bytes:
    """Matrix and curve; no gamma means the curve of sRGB."""
    white = np.array([D65[0] / D65[1], 1, (1 - sum(D65)) / D65[1]])
    scale = (BRADFORD @ D50) / (BRADFORD @ white)
    matrix = np.linalg.inv(BRADFORD) @ np.diag(scale) @ BRADFORD @ to_xyz(primaries)
    tags = {b"wtpt": _xyz(D50)}
    for name, column in zip((b"r", b"g", b"b"), matrix.T, strict=True):
        tags[name + b"XYZ"] = _xyz(column)
        tags[name + b"TRC"] = _curve(gamma)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": _curve(gamma)})


def cmyk_profile(corners: np.ndarray) -> bytes:
    """Interpolates between the inks' 16 corners, uint8 [2, 2, 2, 2, 3] in Lab of 8 bits."""
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity
    return _profile(
        b"prtr",
        b"CMYK",
        b"Lab ",
        {b"wtpt": _xyz(D50), b"A2B0": table + ramp * 4 + corners.tobytes() + ramp * 3},
    )


def _fixed(values: np.ndarray) -> bytes:
    return struct.pack(f">{len(values)}i", *np.round(values * 65536).astype(int))


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    of_srgb = np.array([2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045])
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(of_srgb)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"test"
    described = struct.pack(">I", len(text) + 1) + text + bytes(1 + 4 + 4 + 2 + 1 + 67)
    tags = {
        b"desc": b"desc" + bytes(4) + described,
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        **tags,
    }
    table, content = b"", b""
    first = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", first + len(content), len(value))
        content += value
    size = first + len(content)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, kind, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + _fixed(D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content
