"""Writes the limits of its domain into a shipped model: what decoded held-out images reach.

    python scripts/assets/write_limits.py faces-1024 WILD/ --fast
    python scripts/assets/write_limits.py faces-1024 WILD/ --runs RUN/ RUN/ --coarser 11 36
    python scripts/assets/write_limits.py faces-128 WILD/ --fast --indices 62 82 --dry

WILD, a folder or images, are in the model's frame and neither trained nor calibrated it: those that
scripts/calibration.json names are left out. Each is encoded at every step index of --indices.

--runs takes folders of benchmarks/identity.py, in which files of this model count, and outputs of
this script; all are put together. Then nothing is encoded, but with --coarser the files of the runs
are measured with their integers rounded to coarser step indices, which is worse than what a search
finds there. Limits should come from the quickest search that users have, which reaches least;
--head-room is a factor on them.

They are written into the model's settings in pretrained/, with what they come from in `made`; the
tensors of that file and its fingerprint do not change. A killed run continues where it stopped.
Writes results.jsonl and files into the folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
from calibrate_quality import write_settings
from PIL import Image
from prepare_faces import CALIBRATION

from invcomp.bitstream import IvcFile, decode, encode
from invcomp.bundle import Bundle
from invcomp.codec import Codec
from invcomp.domain import Reached, fit_limits
from invcomp.entropy.density import q_step_of
from invcomp.inversion.options import SearchOptions
from invcomp.lookup import load_bundle
from invcomp.model_zoo.catalogue import KNOWN_MODELS
from invcomp.preprocessing.reading import readable_suffixes

INDICES = (11, 36, 62, 82, 120, 160)


def held_out(sources: Sequence[Path]) -> list[Path]:
    """Images of files and folders, without those that a calibration used."""
    used = set(chain(*CALIBRATION.values()))
    paths = chain(*(sorted(path.iterdir()) if path.is_dir() else [path] for path in sources))
    return [path for path in paths if path.suffix in readable_suffixes() and path.stem not in used]


def of_run(folder: Path, bundle: Bundle) -> Iterator[Reached]:
    """What files of a bundle reach in a folder of benchmarks/identity.py or of this script."""
    for line in (folder / "results.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "step_index" in row:
            yield Reached(row["portrait"], row["step_index"], row["lpips_alex"], row["identity"])
            continue
        path = folder / f"{row['portrait']}_{row['codec']}_{row['goal']}.ivc"
        if path.is_file():
            file = IvcFile.unpack(path.read_bytes())
            if bundle.fingerprint.startswith(file.fingerprint):
                yield Reached(row["portrait"], file.step_index, row["lpips_alex"], row["identity"])


def coarser(codec: Codec, runs: Sequence[Path], paths: list[Path], index: int) -> Iterator[Reached]:
    """What the files of runs reach when their integers are rounded to a coarser step index."""
    bundle = codec.bundle
    for original in paths:
        found = [path for folder in runs for path in folder.glob(f"{original.stem}_*.ivc")]
        files = {path: IvcFile.unpack(path.read_bytes()) for path in found}
        ours = [file for file in files.values() if bundle.fingerprint.startswith(file.fingerprint)]
        if not ours:
            continue
        finest = max(ours, key=lambda file: file.step_index)
        ratio = q_step_of(finest.step_index) / q_step_of(index)
        integers = np.rint(decode(finest, bundle.entropy).integers * ratio).astype(int)
        data = encode(integers, index, bundle.entropy, finest.fingerprint, finest.original_size)
        encoded = codec.measure(Image.open(original), data)
        print(f"{original.stem} at {index}: {encoded.lpips:.3f}, {encoded.identity}", flush=True)
        yield Reached(original.stem, index, encoded.lpips, encoded.identity)


def measure(
    bundle: Bundle, paths: list[Path], indices: list[int], search: SearchOptions, output: Path
) -> None:
    """Encodes every image at every step index; appends to results.jsonl what is missing."""
    output.mkdir(parents=True, exist_ok=True)
    kept = output / "results.jsonl"
    rows = map(json.loads, kept.read_text().splitlines() if kept.is_file() else [])
    done = {(row["portrait"], row["step_index"]) for row in rows}
    codec = Codec(bundle)
    for index in indices:
        for path in paths:
            if (path.stem, index) in done:
                continue
            image = Image.open(path)
            encoded = next(codec.encode([image], q_step=q_step_of(index), search=search))
            (output / f"{path.stem}_{index}.ivc").write_bytes(encoded.data)
            row = {"portrait": path.stem, "step_index": index, "bytes": len(encoded.data)}
            row |= {"lpips_alex": encoded.lpips, "identity": encoded.identity}
            row |= {"seconds": encoded.seconds}
            with kept.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=KNOWN_MODELS)
    parser.add_argument("images", type=Path, nargs="*", help="held-out images, or folders of them")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="folders of earlier runs")
    parser.add_argument("--indices", type=int, nargs="*", default=list(INDICES))
    parser.add_argument("--coarser", type=int, nargs="*", default=[], help="step indices")
    parser.add_argument("--head-room", type=float, default=1.0)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--iterations", type=int, help="iterations of each search")
    parser.add_argument("-o", "--output", type=Path, help="default: runs/limits/MODEL")
    parser.add_argument("--dry", action="store_true", help="only print the limits")
    arguments = parser.parse_args()
    bundle, runs = load_bundle(arguments.model), list(arguments.runs)
    output = arguments.output or Path("runs/limits") / arguments.model
    paths = held_out(arguments.images)
    if paths and not runs:
        search = SearchOptions(fast=arguments.fast, iterations=arguments.iterations)
        measure(bundle, paths, arguments.indices, search, output)
        runs.append(output)
    reached = [one for folder in runs for one in of_run(folder, bundle)]
    codec = Codec(bundle, compiled=False)
    for index in arguments.coarser:
        reached += coarser(codec, runs, paths, index)
    limits = fit_limits(reached, arguments.head_room)
    if limits is None:
        parser.error("too few images")
    print(limits)
    if arguments.dry:
        return
    made: dict[str, float] = {"images": len({one.image for one in reached}), "files": len(reached)}
    made["head_room"] = arguments.head_room
    settings = bundle.settings
    settings = replace(settings, limits=limits, made={**settings.made, "limits": made})
    path = KNOWN_MODELS[arguments.model].prepared
    write_settings(path, settings)
    print(f"{path}: written, fingerprint {bundle.fingerprint.hex()[:8]} as before")


if __name__ == "__main__":
    main()
