"""All options of the search with their defaults: the only place that defines them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError

ITERATIONS = 120
FAST_ITERATIONS = 60
ENOUGH = 82  # step index up to which these numbers of iterations are enough
DOUBLING = 96  # step indices (six octaves of q_step) that double the number of iterations
LEARNING_RATE = 0.2
FAST_LEARNING_RATE = 0.3
# Fraction of a fast search's iterations, at its end, that run the generator itself: up to ENOUGH,
# and from FINE on. A small q_step keeps detail that the surrogate does not show.
FULL_PART, FINE_FULL_PART = 0.15, 0.5
FINE = 114
QUICKER = 2.3  # iterations of the surrogate in the time of one of the generator
SCREENING_COST = 0.3  # of a forward pass, in iterations
FOLLOWED_CLASSES = 8
MEANS = 64  # up to this number of classes, all means are screened; else those of the candidates


@dataclass(frozen=True)
class SearchOptions:
    """Options of the search.

    Attributes:
        iterations: of the optimiser from the chosen start. A phase ends earlier where the loss is
            flat. None: the number is `iterations_at` the step index.
        seconds: time limit for each image. It replaces a number of iterations.
        fast: use half as many iterations, most of them with the bundle's surrogate if it has one.
            Two to three times faster, with slightly higher LPIPS (docs/benchmarks.md). A time
            limit uses the surrogate too.
        full_part: in a search with a surrogate, the fraction of iterations, at the end, that run
            the generator itself. None: it is `full_part_at` the step index.
        use_encoder: start at the prediction of the bundle's encoder network, if it has one.
        starts: number of starts that are followed for `trial_iterations` before one is chosen. The
            encoder's prediction or the mean is one of them. None: 1 with an encoder or a time
            limit, else 2. With 4 the result is better and takes half as long again.
        candidates: number of candidates that are screened for these starts.
        trial_iterations: iterations in each round of trials. Each round drops half of the starts.
        learning_rate: of the optimiser, for the variables. None: LEARNING_RATE with Adam; in a
            fast search FAST_LEARNING_RATE with NAdam.
        whitening: c = deviation^whitening * PIVOT^(1 - whitening) * v. With 1 the variables v are
            whitened, with 0 they are the coordinates themselves. Values between them move strong
            coordinates less in an iteration and weak ones more. On real portraits this takes a
            fifth fewer bytes than 1 (docs/experiments.md).
        rate_weight: factor on the lambda of high-rate theory, (ln 2 / 6) q_step^2.
        structure: weight of 1 - MS-SSIM in the distortion. It preserves outlines, light and colour,
            which LPIPS alone does not (docs/experiments.md). It applies to images of 256 px and
            more. 0: none.
        detail: search for the detail too, if the bundle has one: offsets of inner feature maps.
            Files with a large q_step have none all the same (`detail.COARSEST`).
        seed: of the noise that replaces rounding.
        class_index: class, for a class-conditional generator. None: the search follows the means
            of the eight likeliest classes instead of other starts, and the best decides the class.
    """

    iterations: int | None = None
    seconds: float | None = None
    fast: bool = False
    full_part: float | None = None
    use_encoder: bool = True
    starts: int | None = None
    candidates: int = 64
    trial_iterations: int = 12
    learning_rate: float | None = None
    whitening: float = 0.6
    rate_weight: float = 0.5
    structure: float = 0.3
    detail: bool = True
    seed: int = 0
    class_index: int | None = None

    def __post_init__(self) -> None:
        if self.iterations is not None and self.iterations < 1:
            raise OptionError(f"iterations is {self.iterations}: at least 1 is needed")
        if self.starts is not None and self.starts < 1:
            raise OptionError(f"starts is {self.starts}: at least 1 is needed")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise OptionError(f"a time of {self.seconds} s: it must be above 0")
        if self.seconds is not None and self.iterations is not None:
            raise OptionError("a time and a number of iterations exclude each other")
        for name in ("candidates", "trial_iterations", "rate_weight", "structure"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} is {getattr(self, name)}: at least 0 is needed")
        if self.full_part is not None and not 0 < self.full_part <= 1:
            raise OptionError(f"full_part is {self.full_part}: it must be above 0, 1 at most")

    @property
    def hurried(self) -> bool:
        """Whether the search is fast: by option, or because of a time limit."""
        return self.fast or self.seconds is not None

    def iterations_at(self, step_index: int) -> int:
        """`iterations`, or the default at a step index: a small q_step needs more iterations."""
        default = FAST_ITERATIONS if self.hurried else ITERATIONS
        return self.iterations or round(default * 2 ** max((step_index - ENOUGH) / DOUBLING, 0))

    def full_part_at(self, step_index: int) -> float:
        """`full_part`, or the default at a step index, between FULL_PART and FINE_FULL_PART."""
        fine = min(max((step_index - ENOUGH) / (FINE - ENOUGH), 0.0), 1.0)
        return self.full_part or FULL_PART + (FINE_FULL_PART - FULL_PART) * fine

    @property
    def rate(self) -> float:
        """`learning_rate`, or its default."""
        return self.learning_rate or (FAST_LEARNING_RATE if self.hurried else LEARNING_RATE)

    def starts_cost(
        self, classes: int = 1, with_encoder: bool = False, quick: bool = False
    ) -> float:
        """Cost of choosing the start of one image, in iterations of the generator.

        Args:
            classes: see `followed`.
            with_encoder: see `followed`.
            quick: whether the surrogate is used.
        """
        trials = self.trial_iterations * sum(rounds(self.followed(classes, with_encoder)))
        iterations = trials + SCREENING_COST * self.screened(classes, with_encoder)
        return iterations / QUICKER if quick else iterations

    def descent_cost(self, step_index: int, quick: bool = False) -> float:
        """Cost of the descent from the start, in iterations of the generator."""
        full = self.full_part_at(step_index) if quick else 1.0
        return self.iterations_at(step_index) * (full + (1 - full) / QUICKER)

    def followed(self, classes: int = 1, with_encoder: bool = False) -> int:
        """Number of starts that are followed before one is chosen.

        Args:
            classes: of the generator; 1 if it has none.
            with_encoder: whether an encoder network predicts a start.
        """
        starts = self.starts or (1 if with_encoder or self.seconds is not None else 2)
        if classes == 1 or self.class_index is not None:
            return starts
        return min(classes, max(starts, FOLLOWED_CLASSES))

    def screened(self, classes: int = 1, with_encoder: bool = False) -> int:
        """Largest number of starts whose distortion is computed before some are followed."""
        if classes > 1 and self.class_index is None:
            return min(classes, MEANS)
        return self.candidates if self.followed(classes, with_encoder) > 1 else 0


@dataclass(frozen=True)
class Goal:
    """A target for a file, instead of a quality or a q_step. Exactly one attribute is set.

    Attributes:
        bytes: largest size of the whole file. At least 93% are used if the image can use them.
        bits_per_pixel: the same limit, in bits of the file over pixels of the decoded image.
        lpips: largest LPIPS-Alex, as in `Encoded`. The file is the smallest that the search finds.
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
        """Largest size in bytes of the file of an image with this many pixels; None: no limit."""
        if self.bits_per_pixel is not None:
            return int(self.bits_per_pixel * pixels / 8)
        return self.bytes


def rounds(runs: int) -> list[int]:
    """Number of runs in each round of halving, until one run is left."""
    return [] if runs <= 1 else [runs, *rounds(runs // 2)]
