"""What a comparison may be told."""

from typing import Any

import pytest

from invcomp.errors import OptionError
from invcomp.evaluation import plan
from invcomp.evaluation.plan import Plan, metrics_for


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codecs": ("webp", "gif")}, "'gif'; there are avif, webp"),
        ({"shares": (0.0,)}, "a size of 0"),
        ({"shares": (1.5,)}, "a size of 1.5"),
        ({"shares": ()}, "at least"),
        ({"metrics": ("ssim",)}, "'ssim'"),
        ({"metrics": ()}, "at least"),
        ({"qualities": (50, 101)}, "quality 101"),
        ({"qualities": ()}, "at least"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Plan(**{"codecs": ("webp",), **options})


def test_a_codec_that_pillow_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "available_codecs", lambda names: ())
    with pytest.raises(OptionError, match="Pillow cannot write heic here: pip install"):
        Plan(("heic",))


def test_small_images_have_no_ms_ssim() -> None:
    assert "ms_ssim" in metrics_for(176)
    assert "ms_ssim" not in metrics_for(175)
    assert len(metrics_for(64)) == 4


def test_portraits_have_identity() -> None:
    assert metrics_for(64, faces=True)[-1] == "identity"
    assert metrics_for(64, faces=True, judged=True)[-2:] == ("identity", "judge")
    assert metrics_for(64, judged=True) == metrics_for(64)
    assert Plan(("webp",), metrics=("identity", "judge")).metrics == ("identity", "judge")


@pytest.mark.parametrize(
    ("default", "qualities"),
    [(45, (30, 40, 50, 60)), (95, (70, 80, 90, 100)), (0, (0, 5, 15)), (100, (70, 80, 90, 100))],
)
def test_qualities_lie_around_the_default(default: int, qualities: tuple[float, ...]) -> None:
    assert Plan(("webp",)).with_qualities(default).qualities == qualities
    assert Plan(("webp",), (7.0,)).with_qualities(default).qualities == (7.0,)
