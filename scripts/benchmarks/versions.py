"""Times `invcomp compress` of several checkouts side by side, in one run.

    git worktree add ../before COMMIT
    python scripts/benchmarks/versions.py PORTRAITS... -o runs/versions --checkouts ../before . \
        --options "--bytes 230" "--bytes 230 --fast"

Every checkout compresses the portraits with each of the --options, one checkout after the other,
with the environment's packages. Seconds are those between two files of one process: loading, and
the first portrait, which may compile, are left out. Run nothing else beside it. Writes versions.csv
(checkout, options, portraits, seconds of each, mean bytes).
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from tables import write


def compress(checkout: Path, source: Path, output: Path, options: str) -> list[Path]:
    """Compresses a folder by the code of a checkout: its files, in the order they were made."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "invcomp", "compress", str(source), "-o", str(output)]
    subprocess.run(
        [*command, *shlex.split(options)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return sorted(output.glob("*.ivc"), key=lambda file: file.stat().st_mtime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+", help="three or more, the first untimed")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/versions"))
    parser.add_argument("--checkouts", type=Path, nargs="+", required=True)
    parser.add_argument("--options", nargs="+", default=[""])
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    source = output / "portraits"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for number, portrait in enumerate(arguments.portraits):
        shutil.copy(portrait, source / f"{number:02}{portrait.suffix}")
    rows: list[dict[str, object]] = []
    for options, checkout in itertools.product(arguments.options, arguments.checkouts):
        files = compress(checkout.resolve(), source, output / "files", options)
        times = [file.stat().st_mtime for file in files]
        seconds = [after - before for before, after in itertools.pairwise(times)]
        row = {
            "checkout": checkout.resolve().name,
            "options": options,
            "portraits": len(seconds),
            "seconds": f"{statistics.mean(seconds):.1f}",
            "lowest": f"{min(seconds):.1f}",
            "highest": f"{max(seconds):.1f}",
            "bytes": f"{statistics.mean(file.stat().st_size for file in files[1:]):.0f}",
        }
        rows.append(row)
        print(row, flush=True)
        write(output / "versions.csv", rows)


if __name__ == "__main__":
    main()
