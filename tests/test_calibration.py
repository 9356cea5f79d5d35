"""Calibration on images: what is coded, kept, and made of it."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from invcomp.bitstream import IvcFile, decode
from invcomp.calibration import (
    CodedImage,
    code_images,
    drop_coded,
    with_priors,
    with_qualities,
)
from invcomp.codec import Codec
from invcomp.entropy.density import q_step_of
from invcomp.errors import BundleError, ImageError
from invcomp.inversion.options import SearchOptions
from invcomp.quality import fit_steps

from .tiny import tiny_bundle

SHORT = SearchOptions(iterations=6, starts=1)


def test_images_are_coded_and_measured_as_by_the_codec(tmp_path: Path, images: list[Path]) -> None:
    bundle, steps = tiny_bundle(), (60, 90)
    coded = code_images(bundle, images, tmp_path, steps, device="cpu", search=SHORT)
    codec = Codec(bundle, "cpu", compiled=False)
    opened = [Image.open(path) for path in images]
    for index in steps:
        encoded = list(codec.encode(opened, q_step=q_step_of(index), search=SHORT))
        found = [one_image for one_image in coded if one_image.step_index == index]
        assert [one.lpips for one in found] == pytest.approx([one.lpips for one in encoded])
        for one, file in zip(found, encoded, strict=True):
            integers = decode(IvcFile.unpack(file.data), codec.bundle.entropy).integers
            assert one.integers.tolist() == integers.tolist()


def test_the_table_is_of_mean_distances(tmp_path: Path) -> None:
    bundle, integers = tiny_bundle(), torch.zeros(1)
    lpips = {60: (0.2, 0.1), 90: (0.1, 0.05)}
    coded = [CodedImage(step, integers, one) for step, both in lpips.items() for one in both]
    made = with_qualities(bundle, coded)
    assert made.fingerprint == bundle.fingerprint
    assert made.settings.made["quality"] == {
        "images": 2,
        "lpips": {"60": pytest.approx(0.15), "90": pytest.approx(0.075)},
    }
    assert made.settings.quality_steps == fit_steps({60: 0.15, 90: 0.075})
    # at index 82 LPIPS is 0.09
    assert (made.settings.default_quality, made.settings.step_index(50)) == (50, 82)
    finer = [CodedImage(one.step_index, integers, one.lpips / 2) for one in coded]
    assert with_qualities(bundle, finer).settings.default_quality == 75  # the step stays


def test_broken_coding_goes_on(tmp_path: Path, images: list[Path]) -> None:
    bundle, steps, one = tiny_bundle(), (60, 90), images[:2]

    def stop(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        code_images(bundle, one, tmp_path, steps, stop, "cpu", search=SHORT)
    kept = sorted(tmp_path.glob("*.ivc"))
    assert len(kept) == 3
    # a file that no search makes shows that it is not made anew
    coarse = Codec(bundle, "cpu", False).compress(Image.open(one[0]), q_step=0.9, search=SHORT)
    first = next(path for path in kept if path.name.startswith(one[0].stem))
    first.write_bytes(coarse)
    coded = code_images(bundle, one, tmp_path, steps, device="cpu", search=SHORT)
    assert len(list(tmp_path.glob("*.ivc"))) == len(coded) == 4
    integers = decode(IvcFile.unpack(coarse), bundle.entropy).integers
    assert integers.tolist() in [one.integers.tolist() for one in coded]
    drop_coded(tmp_path)
    assert not tmp_path.exists()


def test_coded_images_of_something_else_are_refused(tmp_path: Path, images: list[Path]) -> None:
    one, search = images[:1], SearchOptions(iterations=2, starts=1)
    code_images(tiny_bundle(), one, tmp_path, (60,), device="cpu", search=search)
    other = with_priors(tiny_bundle(), some_coded())
    (kept,) = tmp_path.glob("*.ivc")
    good = kept.read_bytes()
    for bundle, data in ((other, good), (tiny_bundle(), good[:-1]), (tiny_bundle(), b"")):
        kept.write_bytes(data)
        with pytest.raises(BundleError, match=r"\.60\.ivc is damaged or of another .+: delete it"):
            code_images(bundle, one, tmp_path, (60,), device="cpu", search=search)
        assert kept.read_bytes() == data
    with pytest.raises(ImageError, match=r"gone\.png"):
        code_images(tiny_bundle(), [tmp_path / "gone.png"], tmp_path, device="cpu")


def some_coded() -> list[CodedImage]:
    count = tiny_bundle().coordinates.count
    return [CodedImage(60, torch.arange(count) % 3 - 1, 0.1)]
