"""Base45 (RFC 9285): bytes as text of the 45 characters that QR codes store in 5.5 bits each."""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


def to_base45(data: bytes) -> str:
    """Three characters for each two bytes, two for a last one."""
    text = []
    for at in range(0, len(data), 2):
        pair = data[at : at + 2]
        value = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            value, digit = divmod(value, 45)
            text.append(ALPHABET[digit])
    return "".join(text)


def from_base45(text: str) -> bytes:
    """The inverse of `to_base45`.

    Raises:
        ValueError: this is no base45.
    """
    data = bytearray()
    for at in range(0, len(text), 3):
        digits = [ALPHABET.index(letter) for letter in text[at : at + 3]]
        value = sum(digit * 45**place for place, digit in enumerate(digits))
        if len(digits) == 1:
            raise ValueError("base45 ends too early")
        data += _bytes_of(value, len(digits) - 1)
    return bytes(data)


def _bytes_of(value: int, count: int) -> bytes:
    try:
        return value.to_bytes(count, "big")
    except OverflowError as error:
        raise ValueError("base45 of no bytes") from error
