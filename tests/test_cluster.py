"""A Ray cluster of two workers on this machine: order, errors, and actors that are killed."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from invcomp.archive.reader import Archive
from invcomp.cluster import TRIES, Cluster
from invcomp.codec import Codec
from invcomp.errors import ImageWarning, OptionError, WorkerError

from .cli.conftest import FAST, ROOT, finish, start
from .test_workers import OPTIONS, bundle, deadly, grey, inputs, refused, warned

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'invcomp[ray]'")


@pytest.fixture
def two_cpus() -> Iterator[None]:
    """A cluster that this process is connected to."""
    path = os.environ.get("PYTHONPATH", "")
    environment = {"env_vars": {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}"}}  # tests' functions
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.mark.parametrize("batch", [1, 3])
def test_every_image_has_one_outcome_whoever_is_killed(
    two_cpus: None, tmp_path: Path, batch: int
) -> None:
    marks = [tmp_path / name for name in ("once", "always")]
    for mark in marks:
        mark.mkdir()
    images = inputs(
        6,
        bad=refused,
        odd=partial(warned, 7),
        killer=partial(deadly, marks[0], 1),
        deadly=partial(deadly, marks[1], 99),
    )
    with pytest.warns(ImageWarning, match="image 7 is odd"):
        outcomes = [
            *Cluster(bundle(), "auto", 2, "cpu", False).stream(
                images, replace(OPTIONS, batch=batch)
            )
        ]
    assert [outcome.key for outcome in outcomes] == [key for key, _ in images]
    found = {outcome.key: outcome for outcome in outcomes}
    assert str(found["bad"].error) == "not this one"
    assert isinstance(found["deadly"].error, WorkerError)
    assert f"{TRIES} worker processes ended" in str(found["deadly"].error)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the bytes depend on it
    try:
        codec = Codec(bundle(), "cpu", compiled=False)
        again = [(key, image) for key, image in images if key not in ("bad", "deadly", "killer")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageWarning)
            for outcome in codec.stream([*again, ("killer", grey(100))], OPTIONS):
                there = found[outcome.key].result()
                if batch == 1:
                    assert there.data == outcome.result().data
                else:
                    assert there.lpips == pytest.approx(outcome.result().lpips, abs=0.02)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"device": "mps"}, "one of auto, cpu, cuda"),
        ({"actors": 0}, "at least 1"),
        ({"address": "auto"}, "no Ray cluster at auto"),
    ],
)
def test_clusters_that_cannot_be(
    settings: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(OptionError, match=says):
        Cluster(bundle(), **settings).stream([])


def test_the_command_agrees_with_a_local_run(
    images: list[Path], tiny_cache: Path, tmp_path: Path
) -> None:
    folder, model = images[0].parent, tiny_cache / "models" / "tiny.ivm"
    archives = []
    for name, options in (("here", ()), ("there", ("--cluster", "local", "--workers", "2"))):
        archives.append(tmp_path / f"{name}.ivca")
        command = ("compress", folder, "-o", archives[-1], "--model", model, *FAST, *options)
        outcome = finish(start(*command, cache=tiny_cache))
        assert outcome.code == 0, outcome.err
        assert "Traceback" not in outcome.err
    here, there = map(Archive, archives)
    assert [*here] == [*there]
    sizes = [fmean(len(archive.file(name)) for name in archive) for archive in (here, there)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_without_ray_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['ray'] = None;"
        "from invcomp.cluster import Cluster; from tests.tiny import tiny_bundle;"
        "Cluster(tiny_bundle()).stream([])"
    )
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert 'pip install "invcomp[ray]"' in output.stderr
