"""Trains a learned synthesis in place of the detail's linear one, and measures what it gains.

    python scripts/benchmarks/experiment_synthesis.py FILES/ PORTRAITS/ WILD/ -o runs/synthesis
    python scripts/benchmarks/experiment_synthesis.py FILES/ PORTRAITS/ WILD/ -o runs/synthesis \
        --measure HELD/*_750.ivc --judge JUDGE

FILES are the calibration portraits as `code_images` keeps them (NAME-DIGEST.INDEX.ivc), at fine
q_steps. With the coordinates and integers of each fixed, the search's own distortion is descended
in the weights of the synthesis; integers are rounded again to a random coarser q_step. The last
--held portraits take no part. Every --every iterations, log.csv gets the mean distortion of some
files in training, that of the held-out ones, and seconds. --parts:

gains: a factor and an offset for every channel of every map from 16 px on.
context: what two convolutions (3 x 3, then 1 x 1) make of the coefficients and of the map itself.

--measure decodes files (NAME_..._BYTES.ivc) by the linear and by the learned synthesis, and writes
measured.csv. A killed training continues at its last checkpoint.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from identity import COLUMNS, Bench
from PIL import Image
from tables import formatted, write
from torch import Tensor, nn

from invcomp.bitstream import IvcFile, decode
from invcomp.decoder import Decoder
from invcomp.entropy.density import q_step_of
from invcomp.generators.mobile_stylegan import MobileStyleGAN
from invcomp.generators.mobile_stylegan import inverse_haar as enlarged_by_haar
from invcomp.inversion.detail import rounded
from invcomp.latents.detail import Detail
from invcomp.measurement import perceptual_features
from invcomp.perception.features import CLOSER
from invcomp.preprocessing.frame import from_tensor, to_tensor

HIDDEN, SEEN = 48, 32  # channels of the hidden layer, and of the map that it sees
COARSER = 24  # step indices by which a file's integers are rounded again, at most


class Context(nn.Module):
    """What is added to a map beside the linear offset: zero before training."""

    def __init__(self, coefficients: int, channels: int) -> None:
        super().__init__()
        self.seen = nn.Conv2d(channels, SEEN, 1)
        self.hidden = nn.Conv2d(SEEN + coefficients, HIDDEN, 3, padding=1)
        self.out = nn.Conv2d(HIDDEN, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Map [N, C, s, s] and coefficients [N, K, s, s] to [N, C, s, s]."""
        normal = x / x.square().mean(1, keepdim=True).add(1e-6).sqrt()
        hidden = torch.cat([self.seen(normal), coefficients / coefficients.std().add(0.01)], 1)
        return self.out(nn.functional.leaky_relu(self.hidden(hidden), 0.2))  # type: ignore[no-any-return]


class Synthesis(nn.Module):
    """The generator with a detail, and the learned parts of its synthesis."""

    def __init__(self, generator: MobileStyleGAN, detail: Detail, parts: Sequence[str]) -> None:
        super().__init__()
        self.base, self.detail = [generator], detail  # in a list: not trained
        sizes = [(each.size, each.channels) for each in generator.inner_maps if each.size >= 16]
        self.gains = nn.ParameterDict(
            {str(s): nn.Parameter(torch.zeros(2, c)) for s, c in sizes if "gains" in parts}
        )
        own = dict(sizes)
        self.context = nn.ModuleDict(
            {
                str(each.shape.size): Context(each.shape.channels, own[each.shape.size])
                for each in detail.maps
                if "context" in parts
            }
        )

    def forward(self, latents: Tensor, coefficients: Tensor) -> Tensor:
        """Latents [1, D] and coefficients [1, M] to the last block's map, modulated."""
        generator, offsets = self.base[0], self.detail.offsets(coefficients)
        split = coefficients.split([each.shape.count for each in self.detail.maps], 1)
        maps = {
            str(each.shape.size): part.unflatten(1, (-1, *each.units.shape)) * each.units
            for each, part in zip(self.detail.maps, split, strict=True)
        }
        styles = latents.unflatten(1, (len(generator.layers), generator.style)).unbind(1)
        x = generator.first(generator.constant.expand(len(latents), -1, -1, -1), styles[0])
        for index, block in enumerate(generator.blocks):
            x = block(x, styles[1 + 3 * index : 4 + 3 * index])
            size = str(x.shape[-1])
            added = self.context[size](x, maps[size]) if size in self.context else 0
            if int(size) in offsets:
                x = x + offsets[int(size)].to(x.dtype) + added
            if size in self.gains:
                factor, offset = self.gains[size][:, None, :, None, None]
                x = x * (1 + factor) + offset
        return x * generator.to_image_modulation(styles[-1])[:, :, None, None]  # type: ignore[no-any-return]

    def reduced(self, latents: Tensor, coefficients: Tensor) -> Tensor:
        """The image at 512 px, as the search sees it."""
        image = self.base[0].to_image
        low = nn.functional.conv2d(
            self(latents, coefficients),
            image.weight[:3],
            image.bias[:3],  # type: ignore[index]
        )
        return low / 2

    def image(self, latents: Tensor, coefficients: Tensor) -> Tensor:
        """The image at 1024 px."""
        return enlarged_by_haar(self.base[0].to_image(self(latents, coefficients)))


@dataclass
class Coded:
    """A file: its latents [1, D], integers of the detail [1, M], and the index of its q_step."""

    name: str
    latents: Tensor
    integers: Tensor
    index: int

    @classmethod
    def of(cls, path: Path, decoder: Decoder) -> Coded:
        file = IvcFile.unpack(path.read_bytes())
        found, q_step = decode(file, decoder.bundle.entropy), np.float32(q_step_of(file.step_index))
        coordinates = torch.from_numpy(found.integers * q_step).float()[None]
        latents = decoder.coordinates.latents(coordinates, torch.zeros(1, dtype=torch.long))
        integers = torch.from_numpy(decoder.detail_of(file)).float()[None]
        name = path.name.split("-")[0].split("_invcomp")[0]
        return cls(name, latents, integers, file.step_index)

    def coefficients(self, coarser: int = 0) -> Tensor:
        """As the search would round them to a q_step coarser by so many indices."""
        values = self.integers * q_step_of(self.index)
        q_step = q_step_of(self.index - coarser)
        return rounded(values / q_step) * q_step if coarser else values


class Training:
    """Descends the search's distortion in the weights of a synthesis."""

    def __init__(self, synthesis: Synthesis, decoder: Decoder, rate: float, compiled: bool) -> None:
        settings = decoder.bundle.settings
        self.features = perceptual_features(settings, decoder.bundle.resolution)
        self.features.requires_grad_(False)
        self.synthesis = synthesis
        self.optimiser = torch.optim.Adam(synthesis.parameters(), rate, (0.9, 0.99))
        self.targets: dict[str, Tensor] = {}
        self.seen = torch.compile(self._seen, dynamic=False) if compiled else self._seen

    def _seen(self, latents: Tensor, coefficients: Tensor) -> Tensor:
        image = self.synthesis.reduced(latents, coefficients)
        return self.features(image).float()  # type: ignore[no-any-return]

    def target(self, name: str, portraits: dict[str, Path]) -> Tensor:
        if name not in self.targets:
            image = to_tensor(Image.open(portraits[name]).convert("RGB"))
            image = image if image.ndim == 4 else image[None]
            with torch.no_grad():
                self.targets[name] = self.features(
                    nn.functional.adaptive_avg_pool2d(image, CLOSER)
                ).bfloat16()
        return self.targets[name].float()

    def loss(self, coded: Coded, portraits: dict[str, Path], coarser: int = 0) -> Tensor:
        target = self.target(coded.name, portraits)
        with torch.autocast("cpu", torch.bfloat16):
            seen = self.seen(coded.latents, coded.coefficients(coarser))
        return (seen - target).square().sum()


def split(files: list[Coded], count: int) -> tuple[list[Coded], list[Coded]]:
    """Those to train on, and those of `count` portraits that are held out."""
    names = sorted({file.name for file in files})
    random.Random(1).shuffle(names)
    held = set(names[:count])
    return [f for f in files if f.name not in held], [f for f in files if f.name in held]


def train(
    training: Training,
    files: list[Coded],
    portraits: dict[str, Path],
    arguments: argparse.Namespace,
) -> None:
    own, other = split(files, arguments.held)
    state, done, draws = arguments.output / "state.pt", 0, random.Random(2)
    if state.is_file():
        kept = torch.load(state, weights_only=True)
        training.synthesis.load_state_dict(kept["weights"])
        training.optimiser.load_state_dict(kept["optimiser"])
        done = kept["done"]
    log, started = arguments.output / "log.csv", time.monotonic()

    def measure() -> float:
        return fmean(float(training.loss(file, portraits).detach()) for file in other)

    def known() -> float:
        return fmean(float(training.loss(file, portraits).detach()) for file in own[::4])

    while done <= arguments.iterations:
        if done % arguments.every == 0:
            row = f"{done},{known():.5f},{measure():.5f},{time.monotonic() - started:.0f}"
            print(row, flush=True)
            with log.open("a") as file:
                file.write(row + "\n")
            kept = {"weights": training.synthesis.state_dict(), "done": done}
            torch.save({**kept, "optimiser": training.optimiser.state_dict()}, state)
        fraction = done / arguments.iterations
        for group in training.optimiser.param_groups:
            group["lr"] = arguments.rate * min(1.0, 2 * (1 - fraction)) + 1e-8
        coded = draws.choice(own)
        loss = training.loss(coded, portraits, draws.choice([0, draws.randrange(COARSER)]))
        training.optimiser.zero_grad()
        loss.backward()
        training.optimiser.step()
        done += 1


@torch.no_grad()
def measured(
    synthesis: Synthesis,
    decoder: Decoder,
    arguments: argparse.Namespace,
    portraits: dict[str, Path],
) -> list[dict[str, str]]:
    bench, rows = Bench(arguments.judge), []
    linear = Synthesis(synthesis.base[0], synthesis.detail, ())
    for path in arguments.measure:
        coded, goal = Coded.of(path, decoder), path.stem.split("_")[-1]
        original = Image.open(portraits[coded.name]).convert("RGB")
        for label, each in (("linear", linear), ("learned", synthesis)):
            decoded = from_tensor(each.image(coded.latents, coded.coefficients()))
            decoded.save(arguments.output / f"{coded.name}_{goal}_{label}.png")
            row = {"goal": goal, "synthesis": label, "name": coded.name}
            rows.append({**row, "bytes": path.stat().st_size, **bench(original, decoded)})
            print(rows[-1], flush=True)
    names, table = [name for name in COLUMNS if name in rows[0]], []
    for goal, label in sorted({(row["goal"], row["synthesis"]) for row in rows}, reverse=True):
        group = [row for row in rows if (row["goal"], row["synthesis"]) == (goal, label)]
        means = {name: fmean(row[name] for row in group) for name in names}
        table.append({"synthesis": label, **formatted(means)})
    return table


def parser_of(description: str, output: str, rate: float) -> argparse.ArgumentParser:
    """The options that trainings on coded files share, with the defaults of one of them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("files", type=Path)
    parser.add_argument("portraits", type=Path, nargs="+", help="folders")
    parser.add_argument("-o", "--output", type=Path, default=Path(output))
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--held", type=int, default=4)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--measure", type=Path, nargs="*", default=[])
    parser.add_argument("--judge", type=Path)
    return parser


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0], "runs/synthesis", 1e-3)
    parser.add_argument("--parts", nargs="+", default=["gains", "context"])
    parser.add_argument("--eager", action="store_true")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    portraits = {p.stem: p for folder in arguments.portraits for p in folder.glob("*.jpg")}
    torch.manual_seed(0)
    decoder = Decoder.load("faces-1024", "cpu")
    decoder.generator.requires_grad_(False)
    assert decoder.detail is not None
    synthesis = Synthesis(decoder.generator, decoder.detail, arguments.parts)
    print(sum(p.numel() for p in synthesis.parameters()), "weights", flush=True)
    files = [Coded.of(path, decoder) for path in sorted(arguments.files.glob("*.ivc"))]
    training = Training(synthesis, decoder, arguments.rate, not arguments.eager)
    train(training, files, portraits, arguments)
    if arguments.measure:
        table = measured(synthesis.eval(), decoder, arguments, portraits)
        write(arguments.output / "measured.csv", table)


if __name__ == "__main__":
    main()
