/**
 * A worker that decodes files, so that the page answers while it does. Messages in:
 * {model, data, first}, without data to load the model alone; out: {image, milliseconds, device}.
 */
import { atOriginalSize, inputsOf, unpack } from "./decoder/index.js";
import * as ort from "./runtime/ort.js";
import { serve } from "./service.js";
import { stored } from "./store.js";

const MOST_THREADS = 4;
/** @type {Map<string, Promise<{session: any, manifest: any, tables: any}>>} */
const models = new Map();
/** @type {Map<string, Promise<any>>} onnxruntime for the processor ("wasm"), for the card ("webgpu") */
const runtimes = new Map();

serve(async (asked) => {
  const model = await opened(asked.model);
  if (!asked.data) return { answer: { device: model.device } };
  const answer = await decoded(model, asked);
  return { answer, transferred: [answer.image.pixels.buffer] };
});

async function decoded({ device, runtime, session, manifest, tables }, { data, first }) {
  const file = unpack(data, first);
  const inputs = inputsOf(file, tables);
  const before = performance.now();
  const output = await run(runtime, session, manifest, inputs);
  const milliseconds = performance.now() - before;
  const [height, width] = output.dims;
  const image = atOriginalSize({ width, height, pixels: output.data.slice() }, file);
  return { image, milliseconds, device };
}

/** @param {Record<string, Int32Array>} inputs by name; a missing one is zeros */
async function run(runtime, session, manifest, inputs = {}) {
  const feeds = {};
  for (const { name, shape } of manifest.inputs) {
    const values = inputs[name] ?? new Int32Array(shape.reduce((count, size) => count * size, 1));
    feeds[name] = new runtime.Tensor("int32", values, shape);
  }
  return (await session.run(feeds))[manifest.output.name];
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
  const [network, text] = await Promise.all(
    ["network.onnx", "tables.json"].map((name) =>
      stored(`./${folder}/${name}`, manifest.files[name].sha256),
    ),
  );
  const tables = JSON.parse(new TextDecoder().decode(text));
  const ready = (await onCard(network, manifest)) ?? (await onProcessor(network));
  return { ...ready, manifest, tables };
}

async function onProcessor(network) {
  const runtime = await prepared("wasm", async () => ort);
  return { device: "wasm", runtime, session: await sessionOf(runtime, "wasm", network) };
}

/** Where the site has the runtime for it, and the browser a card that can do it; null elsewhere. */
async function onCard(network, manifest) {
  try {
    const has = "ort-webgpu.wasm" in (await listed());
    if (!has || !(await navigator.gpu?.requestAdapter())) return null;
    const runtime = await prepared("webgpu", () => import("./runtime/ort-webgpu.js"));
    const session = await sessionOf(runtime, "webgpu", network);
    await run(runtime, session, manifest); // compiles its shaders; a card may fail only then
    return { device: "webgpu", runtime, session };
  } catch {
    return null; // the processor does it
  }
}

function sessionOf(runtime, provider, network) {
  const options = { executionProviders: [provider], logSeverityLevel: 3 };
  return runtime.InferenceSession.create(new Uint8Array(network), options);
}

/** Addresses and hashes of what the site has. */
async function listed() {
  return (await (await fetch(new URL("./models.json", import.meta.url))).json()).runtime;
}

/** A runtime, loaded once. @param {"wasm" | "webgpu"} device @param {() => Promise<any>} imported */
function prepared(device, imported) {
  let found = runtimes.get(device);
  if (!found) {
    found = started(device === "wasm" ? "ort" : "ort-webgpu", imported);
    runtimes.set(device, found);
    found.catch(() => runtimes.delete(device));
  }
  return found;
}

/** A runtime with its WebAssembly, in several threads where the browser allows shared memory. */
async function started(name, imported) {
  const [runtime, hashes] = await Promise.all([imported(), listed()]);
  const { wasm } = runtime.env;
  wasm.numThreads = crossOriginIsolated
    ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1)
    : 1;
  wasm.wasmPaths = { mjs: new URL(`./runtime/${name}-wasm.js`, import.meta.url).href };
  wasm.wasmBinary = await stored(`./runtime/${name}.wasm`, hashes[`${name}.wasm`]);
  return runtime;
}
