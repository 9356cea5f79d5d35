"""Everything that the search can be told, with its defaults: the only place that has them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError

STEPS = 120
FAST_STEPS = 60
ENOUGH = 82  # index of the quantiser's step up to which so many are enough
DOUBLING = 96  # indices further on, six octaves of the step, twice as many: the way is longer
LEARNING_RATE = 0.2
FAST_LEARNING_RATE = 0.3
QUICKER = 2.3  # how many steps of a surrogate take as long as one of the generator
SCREENING_COST = 0.3  # of a forward pass against a whole step
FOLLOWED_CLASSES = 8
MEANS = 64  # classes whose means are all screened; of more, those of the candidates


@dataclass(frozen=True)
class SearchOptions:
    """How much the search tries.

    Attributes:
        steps: gradient steps from the chosen start to the file; fewer where the loss is flat
            before. None: as `steps_at` has it.
        seconds: for each image, in place of a number of steps: the best in that time.
        fast: half as many steps, and most of them through the bundle's surrogate, if it has one:
            two to three times faster, and not quite as near (docs/benchmarks.md). A limit of time
            takes the surrogate, too.
        full_part: of a fast search: part of the steps, the last, that run the generator itself.
        warm_start: whether the search starts where the bundle's encoder says, if it has one.
        starts: how many starts, the encoder's or the mean among them, are followed for
            `trial_steps` before one is chosen. None: one with an encoder or a limit of time, else
            two. Four are better still and take half as long again.
        candidates: prior samples screened for those starts.
        trial_steps: gradient steps in each round of trials; a round drops half of the starts.
        learning_rate: the optimiser's, on the variables. None: LEARNING_RATE, or
            FAST_LEARNING_RATE, with NAdam in place of Adam, where the search is to be fast.
        whitening: c = deviation^whitening * PIVOT^(1 - whitening) * v. 1: whitened variables, 0:
            coordinates themselves. Between them strong coordinates move less in a step and weak
            ones more: a fifth fewer bytes on real portraits than with 1 (docs/experiments.md).
        rate_weight: factor on the lambda of high-rate theory, (ln 2 / 6) step^2.
        structure: weight in the distortion of what MS-SSIM lacks to 1. It holds
            outlines, light and colour, which LPIPS alone gives away (docs/experiments.md). Only of
            images of 256 px and more; 0: none.
        seed: of the noise that stands in for rounding.
        class_index: of a class-conditional generator; None: the means of the eight likeliest
            classes are followed in place of other starts, and the one that is chosen has the class.
    """

    steps: int | None = None
    seconds: float | None = None
    fast: bool = False
    full_part: float = 0.15
    warm_start: bool = True
    starts: int | None = None
    candidates: int = 64
    trial_steps: int = 12
    learning_rate: float | None = None
    whitening: float = 0.6
    rate_weight: float = 0.5
    structure: float = 0.3
    seed: int = 0
    class_index: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"steps is {self.steps}: at least 1 is needed")
        if self.starts is not None and self.starts < 1:
            raise OptionError(f"starts is {self.starts}: at least 1 is needed")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise OptionError(f"a time of {self.seconds} s: it must be above 0")
        if self.seconds is not None and self.steps is not None:
            raise OptionError("a time and a number of steps exclude each other")
        for name in ("candidates", "trial_steps", "rate_weight", "structure"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} is {getattr(self, name)}: at least 0 is needed")
        if not 0 < self.full_part <= 1:
            raise OptionError(f"full_part is {self.full_part}: it must be above 0, 1 at most")

    @property
    def hurried(self) -> bool:
        """Whether time matters more than the last bit of likeness."""
        return self.fast or self.seconds is not None

    def steps_at(self, step_index: int) -> int:
        """`steps`, or what stands for it: STEPS or FAST_STEPS, and more for a fine quantiser."""
        steps = FAST_STEPS if self.hurried else STEPS
        return self.steps or round(steps * 2 ** max((step_index - ENOUGH) / DOUBLING, 0))

    @property
    def rate(self) -> float:
        """`learning_rate`, or what stands for it."""
        return self.learning_rate or (FAST_LEARNING_RATE if self.hurried else LEARNING_RATE)

    def starts_cost(self, classes: int = 1, warm: bool = False, quick: bool = False) -> float:
        """Of finding the start of one image, in steps of the generator.

        Args:
            classes, warm: as of `followed`.
            quick: whether it goes through a surrogate.
        """
        trials = self.trial_steps * sum(rounds(self.followed(classes, warm)))
        steps = trials + SCREENING_COST * self.screened(classes, warm)
        return steps / QUICKER if quick else steps

    def descent_cost(self, step_index: int, quick: bool = False) -> float:
        """Of the descent from there, in steps of the generator."""
        full = self.full_part if quick else 1.0
        return self.steps_at(step_index) * (full + (1 - full) / QUICKER)

    def followed(self, classes: int = 1, warm: bool = False) -> int:
        """How many starts are followed before one is chosen.

        Args:
            classes: of the model; 1 where it has none.
            warm: whether there is an encoder's start.
        """
        starts = self.starts or (1 if warm or self.seconds is not None else 2)
        if classes == 1 or self.class_index is not None:
            return starts
        return min(classes, max(starts, FOLLOWED_CLASSES))

    def screened(self, classes: int = 1, warm: bool = False) -> int:
        """How many starts are looked at before some are followed, at most."""
        if classes > 1 and self.class_index is None:
            return min(classes, MEANS)
        return self.candidates if self.followed(classes, warm) > 1 else 0


@dataclass(frozen=True)
class Goal:
    """What a file shall be, in place of a quality or a step: just one of these.

    Attributes:
        bytes: of the whole file, at most; of them 93% are used where the image can use them.
        bits_per_pixel: the same as bits of the file over pixels of the decoded image.
        lpips: LPIPS-Alex at most, as `Encoded` has it, with as few bytes as the search finds.
    """

    bytes: int | None = None
    bits_per_pixel: float | None = None
    lpips: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise OptionError("a goal is one of bytes, bits per pixel and LPIPS")
        ((name, value),) = given.items()
        if not 0 < value < float("inf"):
            raise OptionError(f"a goal of {value} {name.replace('_', ' ')}: it must be above 0")

    def limit(self, pixels: int) -> int | None:
        """Bytes that the file of so many pixels may take; None: as many as it needs."""
        if self.bits_per_pixel is not None:
            return int(self.bits_per_pixel * pixels / 8)
        return self.bytes


def rounds(runs: int) -> list[int]:
    """Numbers of runs in each round of halving until one is left."""
    return [] if runs <= 1 else [runs, *rounds(runs // 2)]
