"""What a training refuses before it begins."""

import pytest

from invcomp.errors import OptionError
from invcomp.training.options import SMALL_SET, TrainOptions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"resolution": 60}, "power of two"),
        ({"resolution": 4}, "power of two"),
        ({"resolution": 2048}, "power of two"),
        ({"batch": 1}, "minibatch deviation"),
        ({"batch": 6}, "multiple of the group"),
        ({"batch": 0}, "at least 1"),
        ({"kimg": 0}, "above 0"),
        ({"preset": "huge"}, "compact, stylegan2"),
        ({"loss": "hinge"}, "rpgan"),
        ({"augmentation_p": 1.5}, "augmentation_p"),
        ({"frame": "fish-eye"}, "ffhq-face, center-crop, pad, stretch"),
    ],
)
def test_bad_options(given: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TrainOptions(**given)  # type: ignore[arg-type]


def test_a_batch_of_one_without_groups() -> None:
    assert TrainOptions(batch=1, group=1).batch == 1


def test_presets() -> None:
    assert TrainOptions(resolution=64).channels == [384, 192, 96, 48, 16]
    assert TrainOptions(resolution=16).channels == [96, 48, 16]
    paper = TrainOptions(resolution=1024, preset="stylegan2")
    assert paper.channels == [512, 512, 512, 512, 512, 256, 128, 64, 32]


def test_rules() -> None:
    assert TrainOptions(resolution=64, batch=32).penalty_weight == pytest.approx(0.0256)
    assert TrainOptions(gamma=3).penalty_weight == 3
    assert TrainOptions(batch=32).ema_half_life(10_000_000) == 10_000
    assert TrainOptions(batch=32).ema_half_life(1000) == 50


def test_what_is_open_is_chosen_by_the_number_of_images() -> None:
    small, large = TrainOptions().for_images(2000), TrainOptions().for_images(SMALL_SET)
    assert (small.discriminator, small.augmentation, small.augmentation_p) == (
        "features",
        "fixed",
        1,
    )
    assert (large.discriminator, large.augmentation, large.augmentation_p) == ("pixels", "ada", 0)
    given = TrainOptions(discriminator="pixels", augmentation_p=0.3).for_images(2000)
    assert (given.discriminator, given.augmentation, given.augmentation_p) == ("pixels", "ada", 0.3)
    assert given.for_images(50_000) == given
