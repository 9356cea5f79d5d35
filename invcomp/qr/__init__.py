"""Files in QR codes: binary, or as base45 text for scanners that return text."""

from .codes import LEVELS, Code, capacity, make_code, read_code
from .sheet import SHEETS, make_sheet

__all__ = ["LEVELS", "SHEETS", "Code", "capacity", "make_code", "make_sheet", "read_code"]
