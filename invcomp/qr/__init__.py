"""Files in QR codes: binary, or as base45 text for scanners that return text."""

from .codes import LEVELS, Code, capacity, make_code, read_code

__all__ = ["LEVELS", "Code", "capacity", "make_code", "read_code"]
