"""The settings of a comparison, checked before any long work begins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import OptionError
from ..inversion.options import SearchOptions
from ..perception.ms_ssim import LEAST_SIDE
from .codecs import available_codecs
from .curves import COMPARED, SHARES
from .judge import Judge
from .metrics import NAMES, OF_FACES

APART = 10.0  # distance between our four default qualities


@dataclass(frozen=True)
class Plan:
    """The settings to try.

    Attributes:
        codecs: conventional codecs from `curves.COMPARED`.
        qualities: our qualities, 0 to 100. None: those of `with_qualities`.
        shares: fractions of the full side for conventional codecs, above 0, at most 1.
        metrics: from `metrics.NAMES` and, for portraits, `metrics.OF_FACES`.
        search: options of our search.
        judge: of identity, for the metric of that name.

    Raises:
        OptionError: an option is out of range, or a codec cannot be written here.
    """

    codecs: tuple[str, ...]
    qualities: tuple[float, ...] | None = None
    shares: tuple[float, ...] = SHARES
    metrics: tuple[str, ...] = NAMES
    search: SearchOptions = field(default_factory=SearchOptions)
    judge: Judge | None = None

    def __post_init__(self) -> None:
        for codec in self.codecs:
            if codec not in COMPARED:
                raise OptionError(f"unknown codec {codec!r}; there are {', '.join(COMPARED)}")
            if not available_codecs([codec]):
                raise OptionError(
                    f'Pillow cannot write {codec} here: pip install "invcomp[compare]", or leave '
                    "it out"
                )
        for share in self.shares:
            if not 0 < share <= 1:
                raise OptionError(
                    f"a size of {share:g}: must be a fraction of the side, above 0 and at most 1"
                )
        for name in self.metrics:
            if name not in (*NAMES, *OF_FACES):
                names = ", ".join((*NAMES, *OF_FACES))
                raise OptionError(f"unknown metric {name!r}; there are {names}")
        for quality in self.qualities or ():
            if not 0 <= quality <= 100:
                raise OptionError(f"quality {quality:g} is not in 0..100")
        if self.qualities == () or not self.metrics or not self.shares:
            raise OptionError("a comparison needs at least one quality, one size and one metric")

    def with_qualities(self, default: float) -> Plan:
        """The plan with four qualities around a bundle's default, unless it has its own."""
        highest = min(default + 1.5 * APART, 100.0)
        around = tuple(max(highest - n * APART, 0.0) for n in (3, 2, 1, 0))
        return replace(self, qualities=self.qualities or tuple(dict.fromkeys(around)))


def metrics_for(resolution: int, faces: bool = False, judged: bool = False) -> tuple[str, ...]:
    """The metrics that apply to images of this resolution.

    Args:
        resolution: of the images.
        faces: whether the model specifies where a face is.
        judged: whether there is a judge of identity.
    """
    general = [name for name in NAMES if name != "ms_ssim" or resolution >= LEAST_SIDE]
    return (*general, *(["identity"] if faces else []), *(["judge"] if faces and judged else []))
