"""The page of a run."""

from pathlib import Path

from PIL import Image

from invcomp.training.page import NAME, write_page
from invcomp.training.record import Record

LINES = [
    {"images": 1000, "generator": 1.5, "images_per_second": 20.0},
    {"images": 2000, "generator": 1.2, "kid": 0.5, "kid_features": "lpips-alex"},
    {"images": 3000, "generator": 1.1, "kid": 0.25, "kid_features": "lpips-alex"},
    {"images": 4000, "generator": 1.0, "kid": 0.75, "kid_features": "lpips-alex"},
]


def test_it_shows_kid_losses_and_samples(tmp_path: Path) -> None:
    folder = tmp_path / "<run>"
    (folder / "samples").mkdir(parents=True)
    for images in (0, 4000):
        Image.new("RGB", (8, 8)).save(folder / "samples" / f"{images:09d}.png")
    (folder / "samples" / "mine.png").touch()  # not ours
    write_page(folder, LINES, {"source": "<b>"})
    page = (folder / NAME).read_text()
    assert "Lowest KID: 0.2500 (lpips-alex features) after 3,000 images" in page
    assert page.index('src="samples/000004000.png"') < page.index('src="samples/000000000.png"')
    assert "mine.png" not in page
    assert "losses.png" not in page  # which was not drawn
    assert "&lt;run&gt;" in page
    assert "<b>" not in page
    other = {"images": 5000, "kid": 3.0, "kid_features": "inception"}
    write_page(folder, [*LINES, other], {})
    assert "Lowest KID: 3.0000 (inception features)" in (folder / NAME).read_text()
    Image.new("RGB", (8, 8)).save(folder / "losses.png")
    write_page(folder, [], {})
    assert 'src="losses.png"' in (folder / NAME).read_text()


def test_snapshots_since_the_lowest_kid(tmp_path: Path) -> None:
    record = Record(tmp_path)
    assert record.since_best() == 0
    for line, expected in zip(LINES, (0, 0, 0, 1), strict=True):
        record.add(line)
        assert record.since_best() == expected
    record.add({"images": 5000, "kid": 0.9, "kid_features": "inception"})
    assert record.since_best() == 0  # of other features
