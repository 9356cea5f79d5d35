// Decodes the files of a JSON on stdin by web/src; writes what they decode to, or the error.
import { readFileSync } from "node:fs";
import {
  atOriginalSize,
  coordinatesOf,
  detailOf,
  fileInCode,
  fromBase45,
  inputsOf,
  unpack,
} from "../../web/src/index.js";

const { models = {}, files = [], images = [], codes = [] } = JSON.parse(readFileSync(0, "utf8"));

function decoded({ file, model, first }) {
  try {
    const data = Uint8Array.from(Buffer.from(file, "hex"));
    const found = unpack(data, first ?? undefined);
    const tables = models[model];
    const { integers, classIndex } = tables
      ? coordinatesOf(found, tables)
      : { integers: [], classIndex: 0 };
    const detail = tables ? detailOf(found, tables) : null;
    return {
      integers: [...integers],
      class: classIndex,
      step_index: found.stepIndex,
      original_size: found.originalSize,
      padded: found.padded,
      fingerprint: found.fingerprint,
      layers: found.layers.map(({ tag, payload }) => [tag, Buffer.from(payload).toString("hex")]),
      detail: detail && detail.flatMap((map) => [...map]),
      inputs: tables ? Object.keys(inputsOf(found, tables)) : [],
    };
  } catch (error) {
    return { error: error.name, says: error.message };
  }
}

function resized({ side, pixels, size, padded }) {
  const image = { width: side, height: side, pixels: Uint8Array.from(pixels) };
  const { width, height, pixels: found } = atOriginalSize(image, { originalSize: size, padded });
  return { size: [width, height], pixels: [...found] };
}

function inCode({ contents }) {
  const data = fileInCode(Uint8Array.from(Buffer.from(contents, "hex")));
  const plain = fromBase45(Buffer.from(contents, "hex").toString("latin1"));
  const hex = (bytes) => bytes && Buffer.from(bytes).toString("hex");
  return { file: hex(data), plain: hex(plain) };
}

const found = [...files.map(decoded), ...images.map(resized), ...codes.map(inCode)];
process.stdout.write(JSON.stringify(found));
