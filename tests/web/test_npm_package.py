"""The package of npm in web/: what it holds, its types, and a stranger's program that uses it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from invcomp import __version__
from invcomp.lookup import load_bundle

ROOT = Path(__file__).resolve().parents[2]
WEB, GOLDEN = ROOT / "web", ROOT / "tests" / "golden"
PACKAGE: dict[str, Any] = json.loads((WEB / "package.json").read_text())
TYPES = (WEB / "index.d.ts").read_text()
PATIENCE = 300  # seconds for npm
INSTALL = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund")
FIELDS = """import { readFileSync } from "node:fs";
import * as decoder from "invcomp-decoder";
const file = decoder.unpack(readFileSync(process.argv[2]));
const kinds = Object.entries(decoder).map(([name, value]) => [name, typeof value]);
const [fields, layer] = [Object.keys(file), Object.keys(file.layers[0])];
console.log(JSON.stringify({ kinds: Object.fromEntries(kinds), fields, layer }));
"""
TYPED = """import * as ort from "onnxruntime-web";
import { type IvcFile, type Tables, BitstreamError, atOriginalSize, inputsOf, unpack } from
  "invcomp-decoder";

export async function decode(data: Uint8Array, tables: Tables, session: ort.InferenceSession) {
  const file: IvcFile = unpack(data, 100);
  const feeds: Record<string, ort.Tensor> = {};
  for (const [name, values] of Object.entries(inputsOf(file, tables))) {
    feeds[name] = new ort.Tensor("int32", values, [1, values.length]);
  }
  const { image } = await session.run(feeds);
  const pixels = image!.data as Uint8Array;
  const { width }: { width: number } = atOriginalSize({ width: 8, height: 8, pixels }, file);
  // @ts-expect-error text is no file
  unpack("text");
  // @ts-expect-error there is no such field
  return [width, file.nothing, new BitstreamError("")];
}
"""
OPTIONS = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext")


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fetched(folder: Path, *packages: str) -> None:
    """Installs packages of npm's registry; skips the test where npm cannot fetch them."""
    command = [*INSTALL, "--prefer-offline", "--fetch-retries=0", *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {', '.join(packages)}: {done.stderr.strip()[:200]}")


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    """An empty project in which the packed package is installed, without a network."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm: apt-get install npm")
    packed, folder = tmp_path / "packed", tmp_path / "consumer"
    packed.mkdir()
    folder.mkdir()
    run("npm", "pack", str(WEB), folder=packed)
    (folder / "package.json").write_text('{"name": "consumer", "private": true, "type": "module"}')
    run(*INSTALL, "--offline", *map(str, packed.iterdir()), folder=folder)
    return folder


def test_its_version_and_licence_are_those_of_the_program() -> None:
    assert PACKAGE["version"] == __version__
    assert (WEB / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert PACKAGE["license"] == "Apache-2.0"
    assert f"invcomp-decoder-{__version__}.tgz" in (WEB / "README.md").read_text()


def test_it_holds_the_decoder_alone(consumer: Path) -> None:
    installed = consumer / "node_modules" / "invcomp-decoder"
    found = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    sources = {f"src/{path.name}" for path in (WEB / "src").iterdir()}
    assert found == sources | {"package.json", "index.d.ts", "README.md", "LICENSE"}
    assert not {"dependencies", "devDependencies", "scripts"} & {*PACKAGE}


def test_its_types_are_those_of_its_sources(consumer: Path) -> None:
    """Names, kinds, and the fields of what it returns; of tables.json, see the export's tests."""
    (consumer / "fields.mjs").write_text(FIELDS)
    file = GOLDEN / "faces-1024.detail.ivc"
    found = json.loads(run("node", "fields.mjs", str(file), folder=consumer))
    kinds = {"function": "function", "class": "function", "const": "number"}
    declared = re.findall(r"^export (const|function|class) (\w+)", TYPES, re.MULTILINE)
    assert {name: kinds[kind] for kind, name in declared} == found["kinds"]
    assert fields("IvcFile") == {*found["fields"]}
    assert fields("Layer") == {*found["layer"]}


def fields(interface: str) -> set[str]:
    body = re.search(rf"interface {interface} [^{{]*{{(.*?)^}}", TYPES, re.MULTILINE | re.DOTALL)
    assert body is not None
    return {*re.findall(r"^  (\w+)\??:", body[1], re.MULTILINE)}


def test_tables_have_the_types_that_are_declared() -> None:
    from invcomp.export.tables import tables_of

    tables = tables_of(load_bundle("clothing-256", aids=False))
    assert {*tables} <= fields("Tables")
    assert {*tables["detail"]} <= fields("Tables") | fields("DetailTables")
    assert fields("DetailTables") <= {*tables["detail"]}


def test_the_example_of_its_readme(consumer: Path) -> None:
    """As a stranger runs it: the packed package, onnxruntime-web, and an export, in a folder."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="needs the extra onnx")
    from invcomp.export import export_bundle
    from invcomp.web.packages import RUNTIME

    fetched(consumer, f"{RUNTIME.name}@{RUNTIME.version}")
    export_bundle(load_bundle("faces-128", aids=False), consumer / "faces-128")
    shutil.copy(GOLDEN / "faces-128.ivc", consumer / "portrait.ivc")
    (program,) = re.findall(r"```js\n(.*?)```", (WEB / "README.md").read_text(), re.DOTALL)
    (consumer / "decode.mjs").write_text(program)
    run("node", "decode.mjs", folder=consumer)
    with Image.open(consumer / "portrait.ppm") as ours, Image.open(GOLDEN / "faces-128.png") as png:
        off = np.abs(np.array(ours, int) - np.array(png.convert("RGB"), int))
    assert off.max() <= 2


def test_its_types_in_a_typescript_program(consumer: Path) -> None:
    from invcomp.web.packages import RUNTIME

    fetched(consumer, "typescript@5", f"{RUNTIME.name}@{RUNTIME.version}")
    (consumer / "decode.ts").write_text(TYPED)
    compiler = consumer / "node_modules" / "typescript" / "bin" / "tsc"
    run("node", str(compiler), *OPTIONS, "decode.ts", folder=consumer)
