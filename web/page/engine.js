/**
 * A worker that decodes files, so that the page answers while it does. Messages in:
 * {id, model, data, first}, without data to load the model alone; out: {id, image, milliseconds},
 * {id} or {id, error}.
 */
import { atOriginalSize, inputsOf, unpack } from "./decoder/index.js";
import * as ort from "./runtime/ort.js";
import { stored } from "./store.js";

const MOST_THREADS = 4;
/** @type {Map<string, Promise<{session: any, manifest: any, tables: any}>>} */
const models = new Map();
let runtime = null;
let last = Promise.resolve();

addEventListener("message", ({ data }) => {
  last = last.then(() => answer(data)); // one after the other: a session runs once at a time
});

async function answer({ id, ...asked }) {
  try {
    if (!asked.data) {
      await opened(asked.model);
      postMessage({ id });
      return;
    }
    const { image, milliseconds } = await decoded(asked);
    postMessage({ id, image, milliseconds }, [image.pixels.buffer]);
  } catch (error) {
    postMessage({ id, error: String(error.message ?? error) });
  }
}

async function decoded({ model, data, first }) {
  const { session, manifest, tables } = await opened(model);
  const file = unpack(data, first);
  const inputs = inputsOf(file, tables);
  const feeds = {};
  for (const { name, shape } of manifest.inputs) {
    feeds[name] = new ort.Tensor("int32", inputs[name], shape);
  }
  const started = performance.now();
  const output = (await session.run(feeds))[manifest.output.name];
  const milliseconds = performance.now() - started;
  const [height, width] = output.dims;
  const image = atOriginalSize({ width, height, pixels: output.data.slice() }, file);
  return { image, milliseconds };
}

/** A model's session and tables; loaded once. @param {any} model as in models.json */
function opened(model) {
  let found = models.get(model.name);
  if (!found) {
    found = load(model);
    models.set(model.name, found);
    found.catch(() => models.delete(model.name)); // it can be tried again
  }
  return found;
}

async function load({ folder, manifest }) {
  runtime ??= prepared();
  await runtime;
  const [network, text] = await Promise.all(
    ["network.onnx", "tables.json"].map((name) =>
      stored(`./${folder}/${name}`, manifest.files[name].sha256),
    ),
  );
  const options = { executionProviders: ["wasm"] };
  const session = await ort.InferenceSession.create(new Uint8Array(network), options);
  return { session, manifest, tables: JSON.parse(new TextDecoder().decode(text)) };
}

/** The runtime's WebAssembly, in several threads where the browser allows memory to be shared. */
async function prepared() {
  const { runtime: sha256 } = await (await fetch(new URL("./models.json", import.meta.url))).json();
  const wasm = ort.env.wasm;
  wasm.numThreads = crossOriginIsolated
    ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1)
    : 1;
  wasm.wasmPaths = { mjs: new URL("./runtime/ort-wasm.js", import.meta.url).href };
  wasm.wasmBinary = await stored("./runtime/ort.wasm", sha256["ort.wasm"]);
}
