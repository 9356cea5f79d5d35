"""Measures the quality table of a shipped model: the mean LPIPS at every calibration q_step.

    python scripts/assets/calibrate_quality.py dcgan-faces-64 PORTRAITS/
    python scripts/assets/calibrate_quality.py avatars-64 runs/avatars/train.zip --first 48

PORTRAITS, a folder or a zip file, contains images in the model's frame that are in no benchmark.
In a folder of the portraits of prepare_faces.py, only its calibration portraits are used. Each is
encoded at every q_step in PrepareOptions.calibration_steps. A killed run continues from the files
in the output folder. The script prints the table and writes it into the settings of the model's
file in pretrained/. The tensors of that file and its fingerprint do not change.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from zipfile import ZipFile

from prepare_faces import CALIBRATION
from safetensors.torch import load_file, save_file

from invcomp.bundle import Settings, read_metadata, settings_in
from invcomp.calibration import code_images, with_qualities
from invcomp.files import atomic_write
from invcomp.inversion.options import SearchOptions
from invcomp.lookup import load_bundle
from invcomp.model_zoo.catalogue import KNOWN_MODELS
from invcomp.preprocessing.reading import readable_suffixes
from invcomp.quality import QUALITIES, lpips_of


def find_images(source: Path, output: Path, first: int | None) -> list[Path]:
    """The images of a folder, or of a zip file, unpacked into the output folder."""
    if source.is_file():
        with ZipFile(source) as zipped:
            names = zipped.namelist()[:first]
            return [Path(zipped.extract(name, output / "images")) for name in names]
    paths = sorted(path for path in source.iterdir() if path.suffix in readable_suffixes())
    calibrating = [path for path in paths if path.stem in chain(*CALIBRATION.values())]
    return (calibrating or paths)[:first]


def write_settings(path: Path, settings: Settings) -> None:
    """Replaces the settings in a bundle file, except its entropy model's, and keeps its tensors."""
    metadata, tensors = read_metadata(path), load_file(path)
    _, of_entropy = settings_in(metadata)
    metadata["settings"] = json.dumps({**asdict(settings), **of_entropy})
    with atomic_write(path, force=True) as temporary:
        save_file(tensors, temporary, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=KNOWN_MODELS)
    parser.add_argument("images", type=Path, help="a folder or a zip file of them")
    parser.add_argument("--first", type=int, help="only so many of them")
    parser.add_argument("--iterations", "--steps", type=int, help="iterations of each search")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/quality"))
    arguments = parser.parse_args()
    images = find_images(arguments.images, arguments.output, arguments.first)
    if not images:
        parser.error(f"{arguments.images}: contains no images")
    started = time.monotonic()
    bundle = load_bundle(arguments.model)
    if bundle.settings.original:
        parser.error(
            f"{arguments.model} is a proxy: it shares the quality table of its large model"
        )
    coded = code_images(
        bundle,
        images,
        arguments.output / arguments.model,
        progress=lambda stage, done, total: print(
            f"{time.monotonic() - started:6.0f} s  {stage} {done}/{total}",
            file=sys.stderr,
            flush=True,
        ),
        compiled=None,
        search=SearchOptions(iterations=arguments.iterations),
    )
    bundle = with_qualities(bundle, coded)
    for index, lpips in bundle.settings.made["quality"]["lpips"].items():
        print(f"step index {index}: LPIPS {lpips:.4f}")
    for quality, step in zip(QUALITIES, bundle.settings.quality_steps, strict=True):
        print(f"quality {quality}: LPIPS {lpips_of(quality):.4f}, step index {step}")
    path = KNOWN_MODELS[arguments.model].prepared
    write_settings(path, bundle.settings)
    print(f"{path}: written, fingerprint {bundle.fingerprint.hex()[:8]} as before")


if __name__ == "__main__":
    main()
