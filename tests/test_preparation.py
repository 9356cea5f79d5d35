"""`prepare` on a small generator: what it makes compresses, and a broken run goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from invcomp.bitstream import IvcFile, decode
from invcomp.bundle import read_bundle
from invcomp.codec import Codec
from invcomp.errors import BundleError, ImageError, OptionError
from invcomp.frame import from_picture
from invcomp.generators.base import Generator, normal
from invcomp.generators.importers.biggan import Config, from_state
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.inversion.options import SearchOptions
from invcomp.inversion.quality import LINEAR_STEPS, fit_steps
from invcomp.latents.rate import step_of
from invcomp.preparation import MEASURED_STEPS, PrepareOptions, calibrate_quality, prepare

from .generators.biggan_state import published_state
from .tiny import tiny_bundle, tiny_conditional_generator

OPTIONS = PrepareOptions(draws=120, coordinates=40, candidates=4, prior_samples=500, batch=2)


def test_prepared_bundle_compresses(tmp_path: Path) -> None:
    generator = tiny_bundle().generator
    path = tmp_path / "own.ivm"
    photographs = []
    for seed in range(2):
        with torch.no_grad():
            picture = generator(generator.spread(generator.sample(normal(1, 32, seed))))
        photographs.append(tmp_path / f"{seed}.png")
        from_picture(picture).save(photographs[-1])
    seen = []
    prepare(generator, path, OPTIONS, photographs, lambda *stage: seen.append(stage), "cpu")
    assert ("metric", 120, 120) in seen
    assert ("calibration", 6, 6) in seen
    assert seen[-1] == ("quality", 8, 8)
    assert sorted(tmp_path.iterdir()) == sorted([*photographs, path])  # no checkpoint stays
    bundle = read_bundle(path)
    assert (bundle.settings.name, bundle.coordinates.count) == ("own", 40)
    assert bundle.tables.slopes is not None
    means = bundle.settings.made["quality"]["lpips"]
    assert bundle.settings.quality_steps == fit_steps({int(s): means[s] for s in means})
    codec = Codec(bundle, "cpu", compiled=False)
    with torch.no_grad():
        picture = generator(generator.spread(generator.sample(normal(1, 32, seed=9))))
    photograph = from_picture(picture)
    encoded = next(codec.encode([photograph], step=0.03, search=SearchOptions(steps=40)))
    coarse = codec.decompress(encoded.data, segments=0)  # the mean picture
    start = codec.features.lpips_distance(*map(_tensor, (photograph, coarse)))
    assert encoded.lpips < 0.8 * float(start)


@pytest.mark.parametrize("channels", [[8, 8], [8, 8, 8]])
def test_pictures_smaller_than_the_perceptual_network_takes(
    channels: list[int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(channels, 8, 8, 1).eval().requires_grad_(False)  # 8 and 16 px
    options = PrepareOptions(draws=24, coordinates=8, candidates=3, prior_samples=300, batch=4)
    codec = Codec(prepare(generator, tmp_path / "small.ivm", options, device="cpu"), "cpu", False)
    with torch.no_grad():
        picture = from_picture(generator(generator.spread(generator.sample(normal(1, 8, 3)))))
    encoded = next(codec.encode([picture], search=SearchOptions(steps=10)))
    assert codec.decompress(encoded.data).size == (generator.resolution,) * 2
    assert 0 <= encoded.lpips < 1


def tiny_biggan() -> Generator:
    return from_state(published_state(), Config())


@pytest.mark.parametrize("make", [tiny_conditional_generator, tiny_biggan])
def test_a_conditional_generator(tmp_path: Path, make: Callable[[], Generator]) -> None:
    generator, path = make(), tmp_path / "classes.ivm"
    count, z_size = generator.classes, generator.z_size
    options = PrepareOptions(draws=40, coordinates=16, candidates=5, prior_samples=800, batch=4)
    prepare(generator, path, options, device="cpu")
    bundle = read_bundle(path)
    assert bundle.tables.classes == count
    assert bundle.candidate_classes is not None
    assert bundle.candidate_classes.unique().tolist() == list(range(count))
    z = normal(2000, z_size, seed=1)
    for index, mean in enumerate(bundle.coordinates.mean):
        samples = generator.sample(z, torch.full((2000,), index))
        distance = (samples.mean(0) - mean[: generator.shared_size]).norm() / samples.std(0).norm()
        assert float(distance) < 0.2
    codec = Codec(bundle, "cpu", compiled=False)
    sample = generator.spread(generator.sample(normal(1, z_size, seed=9), torch.tensor([1])))
    photograph = from_picture(generator(sample))
    data = codec.compress(photograph, search=SearchOptions(steps=10, class_index=1))
    assert bundle.settings.quality_steps == LINEAR_STEPS  # without photographs
    assert decode(IvcFile.unpack(data), codec.tables).class_index == 1
    assert codec.decompress(data).size == (32, 32)


def _tensor(image: object) -> torch.Tensor:
    from invcomp.frame import fit

    return fit(image, 64)[0]


def test_a_broken_run_goes_on_with_the_same_draws(tmp_path: Path) -> None:
    generator = tiny_bundle().generator
    whole = prepare(generator, tmp_path / "whole.ivm", OPTIONS, device="cpu")

    def stop(stage: str, done: int, total: int) -> None:
        if done == 76:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(generator, tmp_path / "own.ivm", OPTIONS, progress=stop, device="cpu")
    assert not (tmp_path / "own.ivm").exists()
    seen: list[int] = []
    resumed = prepare(
        generator, tmp_path / "own.ivm", OPTIONS,
        progress=lambda stage, done, total: seen.append(done), device="cpu",
    )  # fmt: skip
    assert seen[0] == 50
    assert torch.equal(resumed.coordinates.codes, whole.coordinates.codes)


def test_a_checkpoint_of_other_options_is_refused(tmp_path: Path) -> None:
    generator = tiny_bundle().generator
    (tmp_path / "own.ivm.draws").write_bytes(b"not a checkpoint")
    with pytest.raises(BundleError, match="delete it"):
        prepare(generator, tmp_path / "own.ivm", OPTIONS, device="cpu")


SHORT = SearchOptions(steps=6, starts=1)


def test_the_table_is_of_what_files_measure(tmp_path: Path, photographs: list[Path]) -> None:
    bundle, record = tiny_bundle(), tmp_path / "a.lpips"
    made = calibrate_quality(bundle, photographs, record, device="cpu", search=SHORT)
    assert made.fingerprint == bundle.fingerprint
    codec = Codec(bundle, "cpu", compiled=False)
    pictures = [Image.open(path) for path in photographs]
    means = {}
    for index in MEASURED_STEPS:
        files = codec.encode(pictures, step=step_of(index), search=SHORT)
        means[index] = sum(encoded.lpips for encoded in files) / len(pictures)
    kept = made.settings.made["quality"]["lpips"]
    assert kept == pytest.approx({str(index): mean for index, mean in means.items()}, rel=1e-4)
    assert made.settings.quality_steps == fit_steps({int(index): kept[index] for index in kept})


def test_a_broken_measurement_goes_on(tmp_path: Path, photographs: list[Path]) -> None:
    bundle, record = tiny_bundle(), tmp_path / "own.ivm.lpips"
    whole = calibrate_quality(bundle, photographs, tmp_path / "whole", device="cpu", search=SHORT)

    def stop(stage: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate_quality(bundle, photographs, record, stop, "cpu", search=SHORT)
    lines = record.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 5
    # the last line was cut short, and the first photograph's LPIPS is one that no search gives
    first = json.dumps({**json.loads(lines[1]), "lpips": 0.9}).encode() + b"\n"
    record.write_bytes(b"".join([lines[0], first, *lines[2:5], lines[5][:20]]))
    resumed = calibrate_quality(bundle, photographs, record, device="cpu", search=SHORT)
    lpips = [json.loads(line)["lpips"] for line in record.read_bytes().splitlines()[1:]]
    assert len(lpips) == 12
    expected = whole.settings.made["quality"]["lpips"] | {
        "42": resumed.settings.made["quality"]["lpips"]["42"]
    }
    assert resumed.settings.made["quality"]["lpips"] == pytest.approx(expected, rel=1e-4)
    difference = expected["42"] - whole.settings.made["quality"]["lpips"]["42"]
    assert difference == pytest.approx((0.9 - json.loads(lines[1])["lpips"]) / 3, rel=1e-3)


def test_a_killed_preparation_measures_what_is_left(
    tmp_path: Path, photographs: list[Path]
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("quality", 2):
            raise KeyboardInterrupt

    generator, output = tiny_bundle().generator, tmp_path / "own.ivm"
    one = photographs[:1]
    with pytest.raises(KeyboardInterrupt):
        prepare(generator, output, OPTIONS, one, stop, "cpu")
    assert not output.exists()
    record = tmp_path / "own.ivm.lpips"
    kept = [json.loads(line)["lpips"] for line in record.read_bytes().splitlines()[1:]]
    assert len(kept) == 2
    bundle = prepare(generator, output, OPTIONS, one, device="cpu")
    assert bundle.tables.slopes is not None
    means = bundle.settings.made["quality"]["lpips"]
    assert [means["42"], means["72"]] == kept
    assert list(tmp_path.iterdir()) == [output]


def test_records_of_something_else_are_refused(tmp_path: Path, photographs: list[Path]) -> None:
    record = tmp_path / "own.ivm.lpips"
    search = SearchOptions(steps=2, starts=1)
    made = calibrate_quality(tiny_bundle(), photographs[:1], record, device="cpu", search=search)
    assert made.settings.made["quality"]["photographs"] == 1
    good = record.read_bytes()
    with pytest.raises(BundleError, match="another bundle or search: delete it"):
        calibrate_quality(tiny_bundle(), photographs[:1], record, device="cpu", search=SHORT)
    assert record.read_bytes() == good
    for damage in (b"{}\n", b"[]\n", b"no json\n", b"\xff\n"):
        record.write_bytes(good + damage)
        with pytest.raises(BundleError, match=r"own\.ivm\.lpips is damaged .+: delete it"):
            calibrate_quality(tiny_bundle(), photographs[:1], record, device="cpu", search=search)
    with pytest.raises(ImageError, match=r"gone\.png"):
        calibrate_quality(tiny_bundle(), [tmp_path / "gone.png"], tmp_path / "new", device="cpu")


def test_options_out_of_range() -> None:
    with pytest.raises(OptionError, match="draws"):
        PrepareOptions(draws=0)
