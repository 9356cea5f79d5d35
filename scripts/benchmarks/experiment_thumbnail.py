"""Trains a network that predicts the detail from a thumbnail of a conventional codec, and tries it.

    python scripts/benchmarks/experiment_thumbnail.py FILES/ PORTRAITS/ WILD/ -o runs/thumbnail
    python scripts/benchmarks/experiment_thumbnail.py FILES/ PORTRAITS/ WILD/ -o runs/thumbnail \
        --measure runs/likeness/*_230.ivc --judge JUDGE

The idea of Jiang et al. (2017), with the generator as the restoring network: the file would have a
vector, and a thumbnail instead of the detail's integers. The network sees the thumbnail, the image
of the vector alone at 64 px, and the generator's maps of it, and returns the detail's coefficients.

FILES are the calibration portraits as `code_images` keeps them (NAME-DIGEST.INDEX.ivc), at fine
q_steps. Pairs for training: most are real portraits with the latents of their files; some are
images by the surrogate, of latents of a file or of a random sample, with the detail of another
file, mirrored, moved and scaled. The thumbnails are AVIF of random quality, 32 to 64 px a side. The
loss is the search's distortion at 256 px, through the surrogate: the integers of a file are no
target, because other integers make as good an image. The last --held portraits take no part;
log.csv has their mean distortion with a thumbnail of 64 px at three qualities, compared.csv that of
thumbnails and of coded details by their bytes. --measure adds predicted details to files without
one and writes measured.csv. A killed training continues at its last checkpoint.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from experiment_synthesis import Coded, parser_of, split
from identity import COLUMNS, Bench
from PIL import Image
from tables import formatted, write
from torch import Tensor, nn

from invcomp.conventional import streams
from invcomp.decoder import Decoder
from invcomp.entropy.density import q_step_of
from invcomp.generators.base import NO_OFFSETS, Offsets
from invcomp.inversion.detail import rounded
from invcomp.lookup import load_bundle
from invcomp.perception.features import PerceptualFeatures
from invcomp.preprocessing.frame import from_tensor, to_tensor

SEEN, SIZES, WIDTH, BATCH = 64, (32, 48, 64), 64, 2
QUALITIES = (20, 45, 75)  # of AVIF, at which log.csv measures
MAPS = (16, 32)


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.SiLU()
    )


class Restorer(nn.Module):
    """Thumbnail, image and maps of the vector to coefficients of the detail."""

    def __init__(self, channels: dict[int, int], coded: dict[int, int]) -> None:
        super().__init__()
        w = WIDTH
        self.fine = nn.Sequential(conv(9, w), conv(w, w))
        self.seen = nn.ModuleDict({str(s): nn.Conv2d(channels[s], w, 1) for s in MAPS})
        self.middle = nn.Sequential(conv(2 * w, 2 * w), conv(2 * w, 2 * w))
        self.coarse = nn.Sequential(*(conv(3 * w, 3 * w) for _ in range(3)))
        self.down, self.downer = conv(w, w, 2), conv(2 * w, 2 * w, 2)
        self.up = nn.Conv2d(3 * w, 2 * w, 1)
        self.out = nn.ModuleDict(
            {"16": nn.Conv2d(3 * w, coded[16], 1), "32": nn.Conv2d(2 * w, coded[32], 1)}
        )
        for part in self.out.values():
            nn.init.zeros_(part.weight)  # type: ignore[arg-type]
            nn.init.zeros_(part.bias)  # type: ignore[arg-type]

    def forward(self, thumbnail: Tensor, own: Tensor, maps: dict[int, Tensor]) -> Tensor:
        """Images [N, 3, 64, 64] in [-1, 1], maps [N, C, s, s]: coefficients [N, M]."""
        seen = {
            s: self.seen[str(s)](m / m.square().mean(1, keepdim=True).add(1e-6).sqrt())
            for s, m in maps.items()
        }
        fine = self.fine(torch.cat([thumbnail, own, 4 * (thumbnail - own)], 1))
        middle = self.middle(torch.cat([self.down(fine), seen[32]], 1))
        coarse = self.coarse(torch.cat([self.downer(middle), seen[16]], 1))
        middle = middle + F.interpolate(self.up(coarse), scale_factor=2.0, mode="nearest")
        return torch.cat([self.out["16"](coarse).flatten(1), self.out["32"](middle).flatten(1)], 1)


Vector = tuple[Tensor, Tensor, dict[int, Tensor]]  # latents, image at 64 px, maps


@dataclass
class Pair:
    """What the network sees, the target at 256 px, and the coefficients that made it."""

    thumbnail: Tensor
    vector: Vector
    target: Tensor
    coefficients: Tensor
    real: bool = False

    @property
    def latents(self) -> Tensor:
        return self.vector[0]

    def by(self, restorer: Restorer) -> Tensor:
        """The coefficients that the network returns."""
        return restorer(self.thumbnail, *self.vector[1:])  # type: ignore[no-any-return]


def coded_thumbnail(image: Image.Image, size: int, quality: int) -> tuple[Tensor, int]:
    """The decoded thumbnail [1, 3, 64, 64], and the bytes of its stream without the container."""
    small = image.resize((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "AVIF", quality=quality)
    stream = streams.stripped(buffer.getvalue(), "avif", small.size)
    decoded = streams.decompress(stream).resize((SEEN, SEEN), Image.Resampling.BICUBIC)
    return one(decoded), len(stream)


def one(image: Image.Image) -> Tensor:
    tensor = to_tensor(image)
    return tensor if tensor.ndim == 4 else tensor[None]


class Pairs:
    """Endless pairs for training, and those of real portraits."""

    def __init__(self, decoder: Decoder, portraits: dict[str, Path]) -> None:
        assert decoder.detail is not None
        self.decoder, self.detail, self.portraits = decoder, decoder.detail, portraits
        surrogate = load_bundle("faces-1024").aids.surrogate
        assert surrogate is not None
        self.surrogate, self.draws = surrogate, random.Random(3)
        self.vectors: dict[tuple[str, int], Vector] = {}
        self.thumbnails: dict[str, Image.Image] = {}
        self.targets: dict[str, Tensor] = {}
        generator = decoder.generator
        with torch.no_grad():
            self.mean = generator.sample(torch.randn(1000, generator.z_size)).mean(0, keepdim=True)

    def portrait(self, name: str) -> Image.Image:
        if name not in self.thumbnails:
            image = Image.open(self.portraits[name]).convert("RGB")
            self.thumbnails[name] = image.resize((256, 256), Image.Resampling.BOX)
        return self.thumbnails[name]

    def image(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """At 256 px, by the surrogate."""
        trunk = self.decoder.generator.trunk(latents, 256, offsets)
        return self.surrogate(trunk, latents).clamp(-1, 1)  # type: ignore[no-any-return]

    def shifted(self, coefficients: Tensor) -> Tensor:
        """Coefficients mirrored, moved by places of the coarsest map, and scaled."""
        parts = coefficients.split([each.shape.count for each in self.detail.maps], 1)
        mirror, gain = self.draws.random() < 0.5, self.draws.uniform(0.3, 1.2)
        move, found = [self.draws.randrange(-4, 5) for _ in range(2)], []
        for each, part in zip(self.detail.maps, parts, strict=True):
            square = part.unflatten(1, (-1, *each.units.shape)) * gain
            square = square.flip(3) if mirror else square
            step = each.shape.size // self.detail.maps[0].shape.size
            found.append(square.roll([step * by for by in move], (2, 3)).flatten(1))
        return torch.cat(found, 1)

    def vector(self, latents: Tensor, image: Tensor | None = None) -> Vector:
        """What the network sees of latents; `image`, at 256 px, is theirs."""
        image = self.image(latents) if image is None else image
        trunks = {size: self.decoder.generator.trunk(latents, size) for size in MAPS}
        return latents, F.avg_pool2d(image, 256 // SEEN), trunks

    def of_file(self, file: Coded) -> Vector:
        key = file.name, file.index
        if key not in self.vectors:
            self.vectors[key] = self.vector(file.latents)
        return self.vectors[key]

    def real(self, file: Coded, size: int, quality: int) -> Pair:
        thumbnail, _ = coded_thumbnail(self.portrait(file.name), size, quality)
        if file.name not in self.targets:
            self.targets[file.name] = one(self.portrait(file.name))
        coefficients = file.integers * q_step_of(file.index)
        return Pair(thumbnail, self.of_file(file), self.targets[file.name], coefficients, real=True)

    def drawn(self, files: list[Coded]) -> Pair:
        """A pair for training."""
        size, quality = self.draws.choice(SIZES), self.draws.randrange(15, 80)
        file, other = self.draws.choice(files), self.draws.choice(files)
        if self.draws.random() < 0.7:
            return self.real(file, size, quality)
        if self.draws.random() < 0.5:
            generator = self.decoder.generator
            drawn = generator.sample(torch.randn(1, generator.z_size))
            latents = generator.spread(self.mean.lerp(drawn, 0.8))
            vector = self.vector(latents)
        else:
            latents, vector = file.latents, self.of_file(file)
        coefficients = self.shifted(other.integers * q_step_of(other.index))
        target = self.image(latents, self.detail.offsets(coefficients))
        thumbnail, _ = coded_thumbnail(from_tensor(target), size, quality)
        return Pair(thumbnail, vector, target, coefficients)


class Distortion:
    """That of the search at 256 px, between the surrogate's image and a target."""

    def __init__(self, pairs: Pairs) -> None:
        settings = pairs.decoder.bundle.settings
        self.pairs = pairs
        self.features = PerceptualFeatures(settings.beta, face=settings.face)
        self.features.requires_grad_(False)
        self.seen = torch.compile(self._seen, dynamic=False)
        self.known: dict[int, Tensor] = {}

    def _seen(self, latents: Tensor, coefficients: Tensor) -> Tensor:
        image = self.pairs.image(latents, self.pairs.detail.offsets(coefficients))
        return self.features(image).float()  # type: ignore[no-any-return]

    def target(self, pair: Pair) -> Tensor:
        """Features of the target; those of real portraits are kept."""
        if pair.target.data_ptr() not in self.known:
            with torch.no_grad():
                found = self.features(pair.target)
            if not pair.real:
                return found  # type: ignore[no-any-return]
            self.known[pair.target.data_ptr()] = found
        return self.known[pair.target.data_ptr()]

    def __call__(self, pair: Pair, coefficients: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            seen = self.seen(pair.latents, coefficients)
        return (seen - self.target(pair)).square().sum()


def train(
    restorer: Restorer,
    pairs: Pairs,
    own: list[Coded],
    held: list[Coded],
    args: argparse.Namespace,
) -> None:
    optimiser = torch.optim.AdamW(restorer.parameters(), args.rate, (0.9, 0.99))
    state, done, distortion = args.output / "state.pt", 0, Distortion(pairs)
    if state.is_file():
        found = torch.load(state, weights_only=True)
        restorer.load_state_dict(found["weights"])
        optimiser.load_state_dict(found["optimiser"])
        done = found["done"]
    with torch.no_grad():
        tests = {q: [pairs.real(file, SEEN, q) for file in held] for q in QUALITIES}
        alone = fmean(float(distortion(p, 0 * p.coefficients)) for p in tests[QUALITIES[0]])
        whole = fmean(float(distortion(p, p.coefficients)) for p in tests[QUALITIES[0]])
    print(f"held out: vector {alone:.4f}, with its detail {whole:.4f}", flush=True)
    started = time.monotonic()
    while done <= args.iterations:
        if done % args.every == 0:
            kept = {"weights": restorer.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**kept, "done": done}, state)
            with torch.no_grad():
                means = [
                    fmean(float(distortion(pair, pair.by(restorer))) for pair in test)
                    for test in tests.values()
                ]
            row = ",".join([str(done), *(f"{mean:.4f}" for mean in means)])
            print(row, f"{time.monotonic() - started:.0f} s", flush=True)
            with (args.output / "log.csv").open("a") as log:
                log.write(row + "\n")
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min(1.0, 2 * (1 - done / args.iterations)) + 1e-8
        with torch.no_grad():
            drawn = [pairs.drawn(own) for _ in range(BATCH)]
        optimiser.zero_grad()
        for pair in drawn:
            (distortion(pair, pair.by(restorer)) / BATCH).backward()
        optimiser.step()
        done += 1


@torch.no_grad()
def measured(restorer: Restorer, pairs: Pairs, args: argparse.Namespace) -> list[dict[str, str]]:
    """Files without a detail, with those predicted from the best thumbnail of so many bytes."""
    bench, rows, decoder = Bench(args.judge), [], pairs.decoder
    for path in args.measure:
        file = Coded.of(path, decoder)
        original = Image.open(pairs.portraits[file.name]).convert("RGB")
        exact = one(original.resize((SEEN, SEEN), Image.Resampling.LANCZOS))
        own = decoder.generator(file.latents).clamp(-1, 1)
        images = {(0, 0): own}
        for limit in args.thumbnails:
            choices = [coded_thumbnail(original, s, q) for s in SIZES for q in range(5, 90, 3)]
            thumbnail, length = min(
                (choice for choice in choices if choice[1] <= limit),
                key=lambda choice: float((choice[0] - exact).square().mean()),
            )
            small = F.avg_pool2d(own, own.shape[-1] // 256)
            found = restorer(thumbnail, *pairs.vector(file.latents, small)[1:])
            images[limit, length] = decoder.generator(file.latents, pairs.detail.offsets(found))
        for (limit, length), image in images.items():
            decoded = from_tensor(image)
            decoded.save(args.output / f"{path.stem}_{limit}.png")
            row = {"thumbnail": limit, "bytes": path.stat().st_size + length}
            rows.append({**row, **bench(original, decoded)})
            print(path.stem, rows[-1], flush=True)
    names, table = [name for name in COLUMNS if name in rows[0]], []
    for limit in sorted({row["thumbnail"] for row in rows}):
        group = [row for row in rows if row["thumbnail"] == limit]
        means = {name: fmean(row[name] for row in group) for name in names}
        table.append({"thumbnail": str(int(limit)), **formatted(means)})
    return table


@torch.no_grad()
def compared(restorer: Restorer, pairs: Pairs, files: list[Coded]) -> list[dict[str, str]]:
    """Mean bytes and distortion of files at the coarsest index: coded details, and thumbnails."""
    distortion, detail, rows = Distortion(pairs), pairs.detail, []
    files = [file for file in files if file.index == min(each.index for each in files)]
    distortion.seen = distortion._seen  # a few images: compiling takes longer

    def add(kind: str, found: list[tuple[int, Tensor, Pair]]) -> None:
        each = [float(distortion(pair, coefficients)) for _, coefficients, pair in found]
        size = fmean(length for length, *_ in found)
        rows.append({"kind": kind, "bytes": f"{size:.0f}", "distortion": f"{fmean(each):.4f}"})
        print(rows[-1], flush=True)

    alone = [pairs.real(file, SEEN, QUALITIES[0]) for file in files]
    add("vector alone", [(0, 0 * pair.coefficients, pair) for pair in alone])
    for coarser in range(56, -1, -8):
        found = []
        for file, pair in zip(files, alone, strict=True):
            index, q_step = file.index - coarser, q_step_of(file.index - coarser)
            integers = rounded(pair.coefficients / q_step)
            data = detail.model.encode(integers[0].numpy().astype("int64"), index)
            found.append((len(data), integers * q_step, pair))
        add(f"coded, {coarser} indices coarser", found)
    for size in (SIZES[0], SEEN):
        for quality in QUALITIES:
            seen = [pairs.real(file, size, quality) for file in files]
            images = [pairs.portrait(file.name) for file in files]
            lengths = [coded_thumbnail(image, size, quality)[1] for image in images]
            found = [(n, pair.by(restorer), pair) for n, pair in zip(lengths, seen, strict=True)]
            add(f"thumbnail of {size} px, quality {quality}", found)
    return rows


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0], "runs/thumbnail", 2e-4)
    parser.add_argument("--thumbnails", type=int, nargs="*", default=[100, 170, 500])
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    portraits = {p.stem: p for folder in args.portraits for p in folder.glob("*.jpg")}
    torch.manual_seed(0)
    decoder = Decoder.load("faces-1024", "cpu")
    decoder.generator.requires_grad_(False)
    pairs = Pairs(decoder, portraits)
    channels = {each.size: each.channels for each in decoder.generator.inner_maps}
    coded = {each.shape.size: each.shape.channels for each in pairs.detail.maps}
    restorer = Restorer(channels, coded)
    print(sum(p.numel() for p in restorer.parameters()), "weights", flush=True)
    files = [Coded.of(path, decoder) for path in sorted(args.files.glob("*.ivc"))]
    own, held = split(files, args.held)
    train(restorer, pairs, own, held, args)
    write(args.output / "compared.csv", compared(restorer, pairs, held))
    if args.measure:
        write(args.output / "measured.csv", measured(restorer.eval(), pairs, args))


if __name__ == "__main__":
    main()
