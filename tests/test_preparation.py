"""`prepare` on a small generator: what it makes compresses, and a broken run goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from invcomp.bitstream import IvcFile, decode
from invcomp.bundle import read_bundle
from invcomp.calibration import coded_beside
from invcomp.codec import Codec
from invcomp.errors import BundleError, OptionError
from invcomp.generators.base import Generator, normal
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.importers.biggan import Config, from_state
from invcomp.inversion.options import SearchOptions
from invcomp.preparation import CLOSER_WEIGHT, PrepareOptions, prepare
from invcomp.preprocessing.frame import from_tensor
from invcomp.quality import LINEAR_STEPS, fit_steps

from .generators.biggan_state import LAYERS, published_state
from .tiny import tiny_bundle, tiny_conditional_generator

OPTIONS = PrepareOptions(draws=120, coordinates=40, candidates=4, prior_samples=500, batch=2)


def test_prepared_bundle_compresses(tmp_path: Path) -> None:
    generator = tiny_bundle().generator
    path = tmp_path / "own.ivm"
    images = []
    for seed in range(2):
        with torch.no_grad():
            tensor = generator(generator.spread(generator.sample(normal(1, 32, seed))))
        images.append(tmp_path / f"{seed}.png")
        from_tensor(tensor).save(images[-1])
    seen = []
    prepare(generator, path, OPTIONS, images, lambda *stage: seen.append(stage), "cpu")
    assert ("metric", 120, 120) in seen
    assert seen[-1] == ("calibration", 6, 6)
    assert sorted(tmp_path.iterdir()) == sorted([*images, path])  # no checkpoint stays
    bundle = read_bundle(path)
    assert (bundle.settings.name, bundle.coordinates.count) == ("own", 40)
    assert bundle.entropy.tables.slopes is not None
    means = bundle.settings.made["quality"]["lpips"]
    assert bundle.settings.quality_steps == fit_steps({int(s): means[s] for s in means})
    codec = Codec(bundle, "cpu", compiled=False)
    with torch.no_grad():
        tensor = generator(generator.spread(generator.sample(normal(1, 32, seed=9))))
    image = from_tensor(tensor)
    encoded = next(codec.encode([image], q_step=0.03, search=SearchOptions(iterations=40)))
    coarse = codec.decompress(encoded.data, first_bytes=10)  # the mean tensor
    start = codec.encoder.features.lpips_distance(*map(_tensor, (image, coarse)))
    assert encoded.lpips < 0.8 * float(start)


@pytest.mark.parametrize("channels", [[8, 8], [8, 8, 8]])
def test_images_smaller_than_the_perceptual_network_takes(
    channels: list[int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(channels, 8, 8, 1).eval().requires_grad_(False)  # 8 and 16 px
    options = PrepareOptions(draws=24, coordinates=8, candidates=3, prior_samples=300, batch=4)
    codec = Codec(prepare(generator, tmp_path / "small.ivm", options, device="cpu"), "cpu", False)
    with torch.no_grad():
        image = from_tensor(generator(generator.spread(generator.sample(normal(1, 8, 3)))))
    encoded = next(codec.encode([image], search=SearchOptions(iterations=10)))
    assert codec.decompress(encoded.data).size == (generator.resolution,) * 2
    assert 0 <= encoded.lpips < 1


def test_the_bundle_fits_images_as_the_generator_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = StyleGAN2([8, 8], 8, 8, 1).eval().requires_grad_(False)
    few = {"draws": 4, "coordinates": 4, "candidates": 2, "prior_samples": 100}
    for trained, given, expected in (
        (None, None, "center-crop"),
        ("pad", None, "pad"),
        ("pad", "stretch", "stretch"),
    ):
        generator.frame = trained
        options = PrepareOptions(**few, frame=given)  # type: ignore[arg-type]
        bundle = prepare(generator, tmp_path / "small.ivm", options, device="cpu")
        assert bundle.settings.frame == expected
        assert bundle.settings.made["options"]["frame"] == expected
    with pytest.raises(OptionError, match="fish-eye"):
        PrepareOptions(frame="fish-eye")


def test_large_images_are_seen_closer_by_default(tmp_path: Path) -> None:
    torch.manual_seed(0)
    few = {"draws": 2, "coordinates": 2, "candidates": 2, "prior_samples": 100, "detail": False}
    for sizes, given, expected, seen in (
        (7, None, CLOSER_WEIGHT, 512),
        (7, 0.0, 0.0, 256),
        (4, None, 0.0, 256),
        (4, 0.3, 0.3, 512),
    ):
        generator = StyleGAN2([8, *[4] * (sizes - 1)], 8, 8, 1).eval().requires_grad_(False)
        options = PrepareOptions(**few, closer=given)  # type: ignore[arg-type]
        bundle = prepare(generator, tmp_path / "small.ivm", options, device="cpu")
        assert read_bundle(tmp_path / "small.ivm").settings.closer == expected
        assert Codec(bundle, "cpu").encoder.features.resolution == seen
    with pytest.raises(OptionError, match="closer"):
        PrepareOptions(closer=-1.0)


def tiny_biggan() -> Generator:
    return from_state(published_state(), Config(LAYERS))


@pytest.mark.parametrize("make", [tiny_conditional_generator, tiny_biggan])
def test_a_conditional_generator(tmp_path: Path, make: Callable[[], Generator]) -> None:
    generator, path = make(), tmp_path / "classes.ivm"
    count, z_size = generator.classes, generator.z_size
    options = PrepareOptions(draws=40, coordinates=16, candidates=5, prior_samples=800, batch=4)
    prepare(generator, path, options, device="cpu")
    bundle = read_bundle(path)
    assert bundle.entropy.classes == count
    assert bundle.candidate_classes is not None
    assert bundle.candidate_classes.unique().tolist() == list(range(count))
    z = normal(2000, z_size, seed=1)
    for index, mean in enumerate(bundle.coordinates.mean):
        samples = generator.sample(z, torch.full((2000,), index))
        distance = (samples.mean(0) - mean[: generator.shared_size]).norm() / samples.std(0).norm()
        assert float(distance) < 0.2
    codec = Codec(bundle, "cpu", compiled=False)
    sample = generator.spread(generator.sample(normal(1, z_size, seed=9), torch.tensor([1])))
    image = from_tensor(generator(sample))
    data = codec.compress(image, search=SearchOptions(iterations=10, class_index=1))
    assert bundle.settings.quality_steps == LINEAR_STEPS  # without images
    assert decode(IvcFile.unpack(data), codec.bundle.entropy).class_index == 1
    assert codec.decompress(data).size == (32, 32)


def _tensor(image: object) -> torch.Tensor:
    from invcomp.preprocessing.frame import fit

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


def test_a_killed_preparation_codes_what_is_left(tmp_path: Path, images: list[Path]) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("calibration", 2):
            raise KeyboardInterrupt

    generator, output = tiny_bundle().generator, tmp_path / "own.ivm"
    one = images[:1]
    with pytest.raises(KeyboardInterrupt):
        prepare(generator, output, OPTIONS, one, stop, "cpu")
    assert not output.exists()
    assert len(list(coded_beside(output).iterdir())) == 2
    bundle = prepare(generator, output, OPTIONS, one, device="cpu")
    assert bundle.entropy.tables.slopes is not None
    assert list(bundle.settings.made["quality"]["lpips"]) == ["62", "82", "108"]
    assert list(tmp_path.iterdir()) == [output]


def test_options_out_of_range() -> None:
    with pytest.raises(OptionError, match="draws"):
        PrepareOptions(draws=0)
