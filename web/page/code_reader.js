/** A worker that reads QR codes. Messages in: {image}, an ImageData; out: {contents} of all codes. */
import { readBarcodes, prepareZXingModule } from "./runtime/zxing/reader/index.js";
import { serve } from "./service.js";

const OPTIONS = { formats: ["QRCode"], tryHarder: true, tryInvert: false };
let ready = null;

async function load() {
  const url = new URL("./runtime/zxing/reader.wasm", import.meta.url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname}: ${response.status} ${response.statusText}`);
  const overrides = { wasmBinary: await response.arrayBuffer() };
  await prepareZXingModule({ overrides, fireImmediately: true });
}

serve(async ({ image }) => {
  ready ??= load();
  ready.catch(() => (ready = null)); // it can be tried again
  await ready;
  const found = await readBarcodes(image, OPTIONS);
  return { answer: { contents: found.map(({ bytes }) => bytes) } };
});
