"""A site that decodes with faces-128."""

from pathlib import Path

import pytest

from invcomp.errors import DownloadError
from invcomp.lookup import load_bundle


@pytest.fixture(scope="session")
def packages() -> None:
    """The packages of npm are on this machine, or npm fetches them."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="needs the extra onnx")
    from invcomp.web.site import package_files

    try:
        package_files()
    except DownloadError as error:
        pytest.skip(f"needs packages of npm: {error}")


@pytest.fixture(scope="session")
def site(packages: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from invcomp.web import write_site

    folder = tmp_path_factory.mktemp("site")
    write_site([load_bundle("faces-128", aids=False)], folder)
    return folder
