"""Latent-inversion image compression: a generator is the dictionary, an image its latent.

    import invcomp
    codec = invcomp.Codec.load("faces-1024")
    data = codec.compress(image)
    image = codec.decompress(data)

Importing this imports no torch: what needs it is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from .errors import InvcompError

if TYPE_CHECKING:
    from .archive.reader import Archive
    from .archive.writer import ArchiveWriter
    from .codec import Codec
    from .decoder import Decoder
    from .encoder import EncodeOptions
    from .inversion.options import Goal, SearchOptions
    from .inversion.progress import Progress
    from .measurement import Encoded
    from .runner import Outcome, StreamProgress

    __version__: str

__all__ = [
    "Archive",
    "ArchiveWriter",
    "Codec",
    "Decoder",
    "EncodeOptions",
    "Encoded",
    "Goal",
    "InvcompError",
    "Outcome",
    "Progress",
    "SearchOptions",
    "StreamProgress",
    "__version__",
]

HOMES = {
    "Archive": ".archive.reader",
    "ArchiveWriter": ".archive.writer",
    "Codec": ".codec",
    "Decoder": ".decoder",
    "EncodeOptions": ".encoder",
    "Encoded": ".measurement",
    "Goal": ".inversion.options",
    "Outcome": ".runner",
    "Progress": ".inversion.progress",
    "SearchOptions": ".inversion.options",
    "StreamProgress": ".runner",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    try:
        return metadata.version("invcomp")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "0+source"
