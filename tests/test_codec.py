"""The whole way on a small real bundle, and on the portraits' bundle where it can be had."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.bitstream import DETAIL, IvcFile, decode
from invcomp.codec import Codec
from invcomp.device import MANY
from invcomp.encoder import EncodeOptions
from invcomp.errors import (
    BitstreamError,
    GoalError,
    ImageError,
    MissingBundleError,
    OptionError,
)
from invcomp.generators import MobileStyleGAN
from invcomp.generators.base import Generator, normal
from invcomp.inversion.distortion import Distortion
from invcomp.inversion.options import SCREENING_COST, Goal, SearchOptions
from invcomp.inversion.progress import Progress
from invcomp.inversion.search import Search
from invcomp.lookup import load_bundle
from invcomp.perception.features import PerceptualFeatures
from invcomp.perception.identity import Face
from invcomp.preprocessing.frame import from_tensor

from .bitstream import version1
from .tiny import tiny_bundle, tiny_conditional_bundle

SHORT = SearchOptions(iterations=20)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(tiny_bundle(), "cpu", compiled=False)


@pytest.fixture(scope="module")
def image(codec: Codec) -> Image.Image:
    """An image that the generator can make, so that the search can find it."""
    c = normal(1, 64, seed=3) * codec.decoder.coordinates.deviations
    with torch.no_grad():
        return from_tensor(codec.decoder.generator(codec.decoder.coordinates.latents(c)))


def test_there_and_back(codec: Codec, image: Image.Image) -> None:
    data = codec.compress(image, search=SearchOptions(iterations=60))
    decoded = codec.decompress(data)
    assert decoded.size == image.size
    error = np.square(np.array(decoded, float) - np.array(image, float)).mean()
    start = from_tensor(codec.decoder.generator(codec.decoder.coordinates.mean))
    assert error < 0.5 * np.square(np.array(start, float) - np.array(image, float)).mean()


def test_figures_are_those_of_the_file(codec: Codec, image: Image.Image) -> None:
    encoded = next(codec.encode([image], search=SHORT))
    decoded = codec.decompress(encoded.data)
    assert np.array_equal(np.array(decoded), np.array(encoded.decoded))
    x, y = (np.array(one, float) / 255 for one in (image, decoded))
    assert encoded.psnr == pytest.approx(-10 * np.log10(np.square(x - y).mean()), abs=1e-3)
    assert encoded.bits_per_pixel == pytest.approx(8 * len(encoded.data) / 64**2)


def with_face(**changes: float) -> Codec:
    """The tiny codec as one of faces: its images are none, but both networks see something."""
    bundle = tiny_bundle()
    settings = dataclasses.replace(bundle.settings, face=Face(**changes))
    return Codec(dataclasses.replace(bundle, settings=settings), "cpu", compiled=False)


def test_identity_is_a_part_of_what_is_searched_for(codec: Codec, image: Image.Image) -> None:
    """The more it weighs, the nearer the descriptors; without a face there is none."""
    plain = next(codec.encode([image], quality=20, search=SHORT))
    assert plain.identity is None
    faces = [with_face(dlib=weight, mobile=0.0) for weight in (0.0, 2.0)]
    found = [next(face.encode([image], quality=20, search=SHORT)) for face in faces]
    assert found[0].data == plain.data
    assert found[0].identity is not None
    assert found[1].identity is not None
    assert found[1].identity < 0.9 * found[0].identity


def test_decoding_needs_no_network_that_looks_at_images(codec: Codec, image: Image.Image) -> None:
    data, fresh = codec.compress(image, search=SHORT), with_face()
    assert fresh.decompress(data).size == image.size
    assert "features" not in vars(fresh.encoder)


def test_a_finer_step_gives_more_bytes_and_less_distortion(
    codec: Codec, image: Image.Image
) -> None:
    options = SearchOptions(iterations=60)
    coarse, fine = (
        next(codec.encode([image], quality=quality, search=options)) for quality in (5, 60)
    )
    assert len(coarse.data) < len(fine.data)
    assert coarse.lpips > fine.lpips


def test_a_batch_is_its_images_one_by_one(codec: Codec, image: Image.Image) -> None:
    images = [image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    together = list(codec.encode(images, search=SHORT, batch=2))
    for image, encoded in zip(images, together, strict=True):
        alone = next(codec.encode([image], search=SHORT))
        assert encoded.lpips == pytest.approx(alone.lpips, abs=0.1)
    alike = codec.decompress_batch([encoded.data for encoded in together])
    for decoded, encoded in zip(alike, together, strict=True):
        difference = np.array(decoded, int) - np.array(encoded.decoded, int)
        assert np.abs(difference).max() <= 1


def test_symbols_do_not_depend_on_precision_or_threads(codec: Codec, image: Image.Image) -> None:
    data = codec.compress(image, search=SHORT)
    expected = decode(IvcFile.unpack(data), codec.bundle.entropy).integers
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            again = Codec(codec.bundle, "cpu")
            assert np.array_equal(
                decode(IvcFile.unpack(data), again.bundle.entropy).integers, expected
            )
            with torch.autocast("cpu", torch.bfloat16):
                assert np.array_equal(
                    decode(IvcFile.unpack(data), again.bundle.entropy).integers, expected
                )
            difference = np.array(again.decompress(data), int) - np.array(codec.decompress(data))
            assert np.abs(difference).max() <= 1
    finally:
        torch.set_num_threads(threads)


def test_a_file_of_version_1_decodes_to_the_same_image(codec: Codec, image: Image.Image) -> None:
    data = codec.compress(image, search=SHORT)
    integers, _ = decode(IvcFile.unpack(data), codec.bundle.entropy)
    old = version1.pack(integers, data[7], codec.bundle.entropy.tables, codec.decoder.fingerprint)
    assert len(IvcFile.unpack(old).payloads) == 3
    assert np.array_equal(np.array(codec.decompress(data)), np.array(codec.decompress(old)))


def test_more_bytes_refine_the_image(codec: Codec, image: Image.Image) -> None:
    data = codec.compress(image, search=SearchOptions(iterations=60))
    target = np.array(image, float)
    errors = [
        np.square(np.array(codec.decompress(data, first_bytes=size), float) - target).mean()
        for size in (10, 10 + (len(data) - 10) // 3, len(data))
    ]
    assert errors[0] > errors[1] > errors[2]


def test_another_size_is_handed_back(codec: Codec, image: Image.Image) -> None:
    data = codec.compress(image.resize((50, 50)), search=SHORT)
    assert codec.decompress(data).size == (50, 50)
    assert len(data) == len(codec.compress(image, search=SHORT)) + 7 or len(data) > 12


def test_progress_tells_every_step(codec: Codec, image: Image.Image) -> None:
    seen: list[Progress] = []
    options = SearchOptions(iterations=5, starts=4, candidates=6, trial_iterations=2)
    codec.compress(image, search=options, progress=seen.append)
    stages = [progress.stage for progress in seen]
    assert stages == ["screening"] * 6 + ["starts"] * (4 * 2 + 2 * 2) + ["search"] * 5
    assert seen[-1].iteration == seen[-1].iterations == 5
    assert options.starts_cost() == pytest.approx(12 + 6 * SCREENING_COST)
    assert options.descent_cost(82) == 5


def test_the_same_seed_gives_the_same_file(codec: Codec, image: Image.Image) -> None:
    assert codec.compress(image, search=SHORT) == codec.compress(image, search=SHORT)


def test_options_out_of_range(codec: Codec, image: Image.Image) -> None:
    for options in ({"quality": 101}, {"quality": -1}, {"q_step": 2.0}, {"q_step": 0.0},
                    {"q_step": 0.1, "quality": 3}, {"batch": 0}):  # fmt: skip
        with pytest.raises(OptionError):
            codec.compress(image, **options)
    with pytest.raises(OptionError, match="not available"):
        Codec(tiny_bundle(), "tpu")
    with pytest.raises(ImageError):
        codec.compress("portrait.png")  # type: ignore[arg-type]


def test_goals(codec: Codec, image: Image.Image) -> None:
    small = image.resize((50, 50))
    for given, goal, limit in (
        (image, Goal(bytes=40), 40),
        (small, Goal(bytes=40), 40),
        (image, Goal(bits_per_pixel=0.08), 40),
        (small, Goal(bits_per_pixel=0.08), 25),
    ):
        encoded = next(codec.encode([given], goal=goal, search=SHORT))
        assert encoded.limit == limit
        assert 0.93 * limit <= len(encoded.data) <= limit
        assert encoded.fill == len(encoded.data) / limit
        assert codec.decompress(encoded.data).size == given.size
    near = next(codec.encode([image], goal=Goal(lpips=0.05), search=SHORT))
    assert near.lpips <= 0.05
    assert near.fill is None


def test_goals_that_make_no_sense(codec: Codec, image: Image.Image) -> None:
    for given in ({}, {"bytes": 0}, {"lpips": -0.1}, {"bytes": 40, "lpips": 0.1},
                  {"bits_per_pixel": float("nan")}):  # fmt: skip
        with pytest.raises(OptionError, match="goal"):
            Goal(**given)
    for option in ({"quality": 50}, {"q_step": 0.02}):
        with pytest.raises(OptionError, match="exclude"):
            codec.compress(image, goal=Goal(bytes=40), **option)
    with pytest.raises(GoalError, match="takes 17"):
        codec.compress(image.resize((50, 50)), goal=Goal(bytes=16))


def test_the_beginning_of_a_file(codec: Codec, image: Image.Image) -> None:
    data = codec.compress(image, search=SHORT)
    end = len(data) - 4
    coarse = np.array(codec.decompress(data, first_bytes=end))
    assert np.array_equal(np.array(codec.decompress(data[:end], first_bytes=end)), coarse)
    with pytest.raises(BitstreamError, match="truncated"):
        codec.decompress(data, first_bytes=9)
    with pytest.raises(BitstreamError, match=r"truncated|cut short"):
        codec.decompress(data[:end])


class Recorded(Distortion):
    """A distortion that compiles nothing, and remembers what it was asked for."""

    compilations: ClassVar[list[bool]] = []
    batches: ClassVar[list[int]] = []

    def __init__(
        self, generator: Generator, features: PerceptualFeatures, mixed: bool, compiled: bool
    ) -> None:
        super().__init__(generator, features, mixed, compiled=False)
        self.compilations.append(compiled)

    def features_of(self, latents: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(latents))
        return super().features_of(latents)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    monkeypatch.setattr("invcomp.encoder.Distortion", Recorded)
    monkeypatch.setattr("invcomp.device.has_compiler", lambda: True)
    Recorded.compilations.clear()
    Recorded.batches.clear()
    return Recorded


def test_compiling_goes_by_the_number_of_all_images(
    recorded: type[Recorded], image: Image.Image
) -> None:
    options = EncodeOptions(search=SearchOptions(iterations=2, starts=1))
    for total in (1, MANY - 1, MANY, None):  # an unknown number counts as one
        list(Codec(tiny_bundle(), "cpu").stream([(0, image)], options, total))
    assert recorded.compilations == [False, False, True, False]
    list(Codec(tiny_bundle(), "cpu", compiled=True).stream([(0, image)], options))
    assert recorded.compilations[4:] == [True]


@pytest.mark.parametrize(
    ("bfloat16", "expected"), [(True, [True, False, False]), (False, [False] * 3)]
)
def test_a_large_generator_is_compiled_in_bfloat16_unless_in_a_hurry(
    recorded: type[Recorded],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    bfloat16: bool,
    expected: list[bool],
) -> None:
    monkeypatch.setattr("invcomp.encoder.has_fast_bfloat16", lambda device: bfloat16)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    large = MobileStyleGAN(style=8, channels=(8,) * 8)  # 1024 px
    bundle = dataclasses.replace(tiny_bundle(), generator=large)
    for options in (SearchOptions(), SearchOptions(fast=True), SearchOptions(seconds=1.0)):
        Codec(bundle, "cpu").encoder.searcher(options, 1)
    assert recorded.compilations == expected


@pytest.mark.parametrize(("said", "images"), [(True, 1), (False, MANY)])
def test_what_is_said_about_compiling_decides(
    recorded: type[Recorded], said: bool, images: int
) -> None:
    Codec(tiny_bundle(), "cpu", said).encoder.searcher(SearchOptions(), images)
    assert recorded.compilations == [said]


@pytest.mark.parametrize(
    ("compiled", "images", "batches"),
    [(True, 3, [2, 2]), (True, 1, [1]), (False, 3, [2, 1])],
)
def test_a_compiled_graph_gets_full_batches(
    recorded: type[Recorded],
    image: Image.Image,
    compiled: bool,
    images: int,
    batches: list[int],
) -> None:
    codec = Codec(tiny_bundle(), "cpu", compiled)
    options = SearchOptions(iterations=1, starts=1)
    encoded = list(codec.encode([image] * images, search=options, batch=2))
    assert len(encoded) == images
    assert recorded.batches == batches


def test_large_images_decode_one_by_one_on_a_cpu(codec: Codec) -> None:
    assert codec.decoder.batch_size == 64  # of 64 px
    large = MobileStyleGAN(style=8, channels=(8,) * 8)  # 1024 px
    bundle = dataclasses.replace(codec.bundle, generator=large)
    assert Codec(bundle, "cpu", compiled=False).decoder.batch_size == 1


def test_where_memory_runs_out_half_as_many_go_on(
    codec: Codec, image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, run = [], Search.run

    def short_of_memory(self: Search, images: torch.Tensor, *rest: Any) -> list[bytes | GoalError]:
        ran.append(len(images))
        if len(images) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return run(self, images, *rest)

    monkeypatch.setattr(Search, "run", short_of_memory)
    files = codec.compress_batch([image] * 3, search=SHORT, batch=3)
    assert ran == [3, 2, 1, 1, 1]
    assert files == [codec.compress(image, search=SHORT)] * 3


def test_too_little_memory_for_one_says_what_to_do(
    codec: Codec, image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(Distortion, "features_of", full)
    with pytest.raises(OptionError, match="out of memory on cpu, with one image"):
        codec.compress(image, search=SHORT)


def test_the_class_is_coded_and_comes_back() -> None:
    codec = Codec(tiny_conditional_bundle(), "cpu", compiled=False)
    classes = torch.tensor([2, 0])
    with torch.no_grad():
        tensors = codec.decoder.generator(
            codec.decoder.coordinates.latents(torch.zeros(2, 24), classes)
        )
    images = [from_tensor(tensor[None]) for tensor in tensors]
    files = codec.compress_batch(images, search=SearchOptions(iterations=3, starts=1), batch=2)
    found = [decode(IvcFile.unpack(data), codec.bundle.entropy).class_index for data in files]
    assert found == classes.tolist()
    given = codec.compress(images[0], search=SearchOptions(iterations=3, starts=1, class_index=1))
    assert decode(IvcFile.unpack(given), codec.bundle.entropy).class_index == 1
    for image, decoded in zip(images, codec.decompress_batch(files), strict=True):
        difference = np.array(image, float) - np.array(decoded, float)
        assert np.abs(difference).mean() < 12
    for class_index in (-1, 3):
        with pytest.raises(OptionError, match="0 to 2"):
            codec.compress(images[0], search=SearchOptions(class_index=class_index))


def test_a_file_of_another_bundle_is_refused(codec: Codec, image: Image.Image) -> None:
    file = IvcFile.unpack(codec.compress(image, search=SHORT))
    other = dataclasses.replace(file, fingerprint=b"\0\1\2\3").pack()
    with pytest.raises(MissingBundleError, match="00010203"):
        codec.decompress(other)


def test_a_portrait_there_and_back(pypi: Path, faces: list[Path]) -> None:
    """Of 1024 px, by a short search; `scripts/benchmarks/faces.py` measures the long one."""
    codec = Codec(load_bundle("faces-1024"), "cpu", compiled=False)
    with Image.open(faces[-1]) as image:
        encoded = next(codec.encode([image], search=SearchOptions(iterations=12)))
    assert encoded.decoded.size == (1024, 1024)
    assert 30 < len(encoded.data) < 600
    assert encoded.lpips < 0.45  # from 0.55 to 0.7 at the mean latent
    file = IvcFile.unpack(encoded.data)
    ideal = (
        codec.bundle.entropy.code_length(
            decode(file, codec.bundle.entropy).integers, file.step_index
        ).sum()
        / 8
    )
    assert len(file.payloads[0]) <= 1.001 * ideal + 1
    vector_alone = dataclasses.replace(file, layers=()).pack()
    assert len(vector_alone) == 10 + len(file.payloads[0])
    assert file.layer(DETAIL) is not None  # at the default quality
    assert codec.decompress(vector_alone).tobytes() != codec.decompress(encoded.data).tobytes()


def test_a_given_colour_of_the_eyes(pypi: Path) -> None:
    """`dcgan-eyes-128`: an image of its own, as there are no eyes to test on."""
    codec = Codec(load_bundle("dcgan-eyes-128"), "cpu", compiled=False)
    z, blue = normal(2, codec.decoder.generator.z_size, seed=1)[1:], torch.tensor([1])
    image = from_tensor(codec.decoder.generator(codec.decoder.generator.sample(z, blue)))
    losses = []
    for colour in (1, 7):
        options = SearchOptions(iterations=30, starts=1, class_index=colour)
        encoded = next(codec.encode([image], quality=60, search=options))
        assert decode(IvcFile.unpack(encoded.data), codec.bundle.entropy).class_index == colour
        losses.append(encoded.lpips)
    assert losses[0] < losses[1]  # red eyes are not so near
