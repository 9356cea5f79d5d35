// Decodes the files of a JSON on stdin by web/src; writes what they decode to, or the error.
import { readFileSync } from "node:fs";
import { atOriginalSize, coordinatesOf, detailOf, inputsOf, unpack } from "../../web/src/index.js";

const { models = {}, files = [], images = [] } = JSON.parse(readFileSync(0, "utf8"));

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

process.stdout.write(JSON.stringify(images.length ? images.map(resized) : files.map(decoded)));
