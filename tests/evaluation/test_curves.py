"""Points, means and hulls."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from invcomp.evaluation.curves import (
    COMPARED,
    QUALITIES,
    bytes_at,
    hull,
    loss,
    mean_points,
    sizes_of,
)
from invcomp.evaluation.results import Measured

from .points import curve, point


def test_sizes() -> None:
    assert sizes_of(1024) == [1024, 512, 256, 128]
    assert sizes_of(64) == [64, 32, 16]  # under 16 px nothing can be seen
    assert sizes_of(100, (0.3, 1.0)) == [100, 30]


def test_every_codec_has_qualities_in_order() -> None:
    assert COMPARED == ("avif", "webp", "jpeg", "jxl", "heic", "jp2")
    for qualities in QUALITIES.values():
        assert list(qualities) == sorted(set(qualities))


def test_means_are_over_the_images() -> None:
    files = [
        Measured(name, name, "webp", size, 10.0, rate, seconds, {"psnr": psnr})
        for size in (64, 32)
        for name, rate, seconds, psnr in (("a", 100, 1.0, 20.0), ("b", 300, 2.0, 30.0))
    ]
    full, half = mean_points(files, {("webp", 64, 10.0): 0.5})
    assert (full.codec, full.size, full.quality) == ("webp", 64, 10.0)
    assert (full.bytes, full.seconds, full.values) == (200, 1.5, {"psnr": 25.0, "kid": 0.5})
    assert (half.size, half.values) == (32, {"psnr": 25.0})


def test_the_hull_leaves_out_what_nobody_would_choose() -> None:
    worse, above, ends = (200, 0.5), (250, 0.19), [(100, 0.4), (150, 0.2), (400, 0.1)]
    points = curve("webp", "dists", worse, above, *reversed(ends))
    assert [(p.bytes, p.values["dists"]) for p in hull(points, "dists")] == ends


def test_more_is_better_for_psnr() -> None:
    points = curve("webp", "psnr", (100, 20.0), (200, 30.0), (300, 29.0), (400, 35.0))
    assert [p.bytes for p in hull(points, "psnr")] == [100, 200, 400]


def test_of_equal_bytes_the_better_one_counts() -> None:
    points = curve("webp", "dists", (100, 0.4), (100, 0.3), (200, 0.3))
    assert [p.values["dists"] for p in hull(points, "dists")] == [0.3]


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(-50, 50)), min_size=1, max_size=30))
def test_no_point_lies_below_the_hull(pairs: list[tuple[int, int]]) -> None:
    points = [point("webp", rate, dists=value) for rate, value in pairs]
    found = hull(points, "dists")
    assert found[0].bytes == min(p.bytes for p in points)
    assert loss(found[-1], "dists") == min(loss(p, "dists") for p in points)
    for left, right in pairwise(found):
        assert left.bytes < right.bytes
        assert loss(left, "dists") > loss(right, "dists")
        for p in points:
            if left.bytes <= p.bytes <= right.bytes:
                part = (p.bytes - left.bytes) / (right.bytes - left.bytes)
                line = (1 - part) * loss(left, "dists") + part * loss(right, "dists")
                assert loss(p, "dists") >= line - 1e-9


def test_bytes_at_equal_distortion() -> None:
    webp = hull(curve("webp", "psnr", (100, 20.0), (200, 30.0), (400, 35.0)), "psnr")
    wanted = {19.0: 100, 20.0: 100, 25.0: 150, 30.0: 200, 34.0: 360, 35.0: 400, 36.0: None}
    for value, rate in wanted.items():
        assert bytes_at(webp, "psnr", point("invcomp", 50, psnr=value)) == rate
