import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from invcomp.errors import DownloadError
from invcomp.model_zoo import download
from invcomp.model_zoo.download import PinnedFile, fetch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a pip that is configured by the test alone."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Index:
    """A package index in a folder, in the form that PyPI has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = folder.as_uri()

    def add(self, filename: str, content: bytes) -> PinnedFile:
        page = self.folder / "tiny-weights"
        page.mkdir(parents=True, exist_ok=True)
        (page / filename).write_bytes(content)
        (page / "index.html").write_text(f'<a href="{filename}">{filename}</a>')
        digest = hashlib.sha256(content).hexdigest()
        return PinnedFile("tiny-weights", "1.0", filename, digest, len(content))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    index = Index(tmp_path / "simple")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    return index


WHEEL = "tiny_weights-1.0-py3-none-any.whl"
SDIST = "tiny_weights-1.0.tar.gz"


@pytest.mark.parametrize("filename", [WHEEL, SDIST])
def test_fetches_what_was_pinned_and_reports_progress(
    index: Index, cache: Path, filename: str
) -> None:
    content = bytes(range(256)) * 4000
    pinned = index.add(filename, content)
    calls: list[tuple[int, int]] = []
    path = fetch(pinned, lambda done, total: calls.append((done, total)))
    assert path == cache / filename
    assert path.read_bytes() == content
    assert calls == sorted(calls)
    assert calls[-1] == (len(content), len(content))
    assert [entry.name for entry in cache.iterdir()] == [filename]


def test_uses_what_is_there(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = index.add(WHEEL, b"weights")
    path = fetch(pinned)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert fetch(pinned) == path


def test_replaces_a_damaged_file(index: Index) -> None:
    pinned = index.add(WHEEL, b"weights")
    fetch(pinned).write_bytes(b"weighty")
    assert fetch(pinned).read_bytes() == b"weights"


def test_runs_nothing_of_a_source_distribution(index: Index, tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    setup = f"open({str(marker)!r}, 'w')".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("tiny_weights-1.0/setup.py")
        member.size = len(setup)
        tar.addfile(member, io.BytesIO(setup))
    fetch(index.add(SDIST, buffer.getvalue()))
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"other bytes", b"more bytes than were pinned" * 50_000])
def test_refuses_another_content(index: Index, cache: Path, content: bytes) -> None:
    pinned = index.add(WHEEL, b"weights")
    index.add(WHEEL, content)
    with pytest.raises(DownloadError, match="not the pinned file"):
        fetch(pinned)
    assert list(cache.iterdir()) == []


def test_removes_what_a_killed_download_left(index: Index, cache: Path) -> None:
    """Of processes of this machine that no longer run."""
    script = (
        "import os, signal; from pathlib import Path; from invcomp.model_zoo import download\n"
        f"folder = Path({str(cache)!r}, download._mine() + 'x'); folder.mkdir(parents=True)\n"
        "(folder / 'part').write_bytes(bytes(999)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    others = [cache / f".download-elsewhere-{2**22}-x", cache / f"{download._mine()}x"]
    for folder in others:
        folder.mkdir()
    assert len([*cache.iterdir()]) == 3
    path = fetch(index.add(WHEEL, b"weights"))
    assert {*cache.iterdir()} == {path, *others}


def test_says_what_it_did_not_find(index: Index) -> None:
    pinned = index.add(WHEEL, b"weights")
    missing = PinnedFile("tiny-weights", "2.0", "tiny_weights-2.0.tar.gz", pinned.sha256, 7)
    with pytest.raises(DownloadError, match=r"tiny_weights-2\.0\.tar\.gz .*does not have it"):
        fetch(missing)


def test_asks_every_place_that_pip_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Index(tmp_path / "empty").add("tiny_weights-0.1.tar.gz", b"")
    full = Index(tmp_path / "full")
    pinned = full.add(SDIST, b"weights")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "empty").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{(tmp_path / 'absent').as_uri()} {full.url}")
    fetch(pinned).unlink()
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL")
    monkeypatch.setenv("PIP_FIND_LINKS", str(full.folder / "tiny-weights"))
    assert fetch(pinned).read_bytes() == b"weights"


def test_reads_pip_configuration_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(tmp_path / "simple")
    pinned = index.add(WHEEL, b"weights")
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert fetch(pinned).read_bytes() == b"weights"


def test_without_any_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadError, match="no index"):
        fetch(PinnedFile("tiny-weights", "1.0", WHEEL, "0" * 64, 1))


@pytest.mark.parametrize("variable", ["PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_uses_the_certificates_that_pip_would(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "absent.pem"))
    with pytest.raises(DownloadError, match=r"certificates in .*absent\.pem"):
        fetch(index.add(WHEEL, b"weights"))


def test_no_room_in_the_cache(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.raises(DownloadError, match=r"cannot store .*INVCOMP_CACHE"):
        fetch(index.add(WHEEL, b"weights"))


class FailingOnce(ThreadingHTTPServer):
    """Serves one wheel, but says "service unavailable" to the first question."""

    asked = 0

    def __init__(self, content: bytes) -> None:
        self.content = content
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, FailingOnce)
        self.server.asked += 1
        body = self.server.content if self.path.endswith(".whl") else f'<a href="{WHEEL}">'.encode()
        self.send_response(503 if self.server.asked == 1 else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_tries_again_when_the_server_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with FailingOnce(b"weights") as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        digest = hashlib.sha256(b"weights").hexdigest()
        path = fetch(PinnedFile("tiny-weights", "1.0", WHEEL, digest, 7))
        server.shutdown()
    assert path.read_bytes() == b"weights"
    assert server.asked == 3


def test_says_in_one_line_that_there_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with FailingOnce(b"") as server:
        port = server.server_port
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")  # no one listens now
    with pytest.raises(DownloadError) as raised:
        fetch(PinnedFile("tiny-weights", "1.0", WHEEL, "0" * 64, 1))
    assert "\n" not in str(raised.value)
    assert "tiny-weights 1.0" in str(raised.value)


def test_downloads_a_wheel_from_pypi(pypi: Path) -> None:
    assert pypi.stat().st_size == 53_763


def test_downloads_a_source_distribution_from_pypi(
    pypi: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the network and pip's configuration as they are
    monkeypatch.setenv("INVCOMP_CACHE", str(cache))
    path = fetch(
        PinnedFile(
            project="lpips",
            version="0.1.4",
            filename="lpips-0.1.4.tar.gz",
            sha256="3846331df6c69688aec3d300a5eeef6c529435bc8460bd58201c3d62e56188fa",
            size=18029,
        )
    )
    assert tarfile.is_tarfile(path)
