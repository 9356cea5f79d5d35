/** The page: opens files, shows what the engine makes of them. */
import { beside, forgetOriginal, keepOriginal, prepareComparison } from "./comparison.js";
import { CONVENTIONAL, PHOTO, layerOf, unpack } from "./decoder/index.js";
import { byId, element, fail, on, paint, status } from "./dom.js";
import { fileInPicture, prepareScan, reasonOf } from "./scan.js";
import { Service } from "./service.js";

const LARGEST_FILE = 1 << 26;
const HEADER = 10; // bytes of a file without which nothing decodes
const STEPS = 16; // images on the way to the whole, where that is quick
const QUICK = 400; // ms of one image, under which a file is shown as it arrives
const PAUSE = 40; // ms between these images
const engine = new Service("./engine.js");
let models = [];
let following = false;
/** @type {number | null} what the slider says, if that is not shown yet */
let wanted = null;
/** @type {{data: Uint8Array, name: string, file: any} | null} */
let current = null;

/** The decoded image of the current file's first bytes; null if another was asked for since. */
async function decode(first) {
  const { data, file } = current;
  const model = models[byId("model").value];
  const answer = await engine.ask({ model, data, first: first < data.length ? first : undefined });
  return file === current?.file ? answer : null;
}

async function open(data, name) {
  try {
    fail();
    const file = unpack(data);
    const fitting = fittingOf(file); // before anything changes: the file before stays open
    current = { data, name, file };
    forgetOriginal();
    byId("facts").textContent = `${data.length.toLocaleString("en")} bytes`;
    byId("bytes").max = String(data.length);
    fillModels(fitting);
    await show(data.length, true);
  } catch (error) {
    fail(`${name}: ${error.message}`);
  }
}

/** Says what the image is not. */
function note() {
  const { name, proxy_of: pixels } = models[byId("model").value].manifest;
  const notes = [];
  if (layerOf(current.file, PHOTO)) notes.push("It is a photo. This page shows its first face alone.");
  if (pixels) {
    notes.push(
      `${name} is a small proxy. Of a file that its model of ${pixels} px made, it shows a preview: ` +
        "somebody alike, often in other colours.",
    );
  }
  byId("notes").replaceChildren(...notes.map((text) => element("li", text)));
}

/** Indices of the models that decode a file. @param {any} file */
function fittingOf(file) {
  if (layerOf(file, CONVENTIONAL)) {
    throw new Error("a conventional codec coded this file; this page shows only those of a model");
  }
  const fitting = [...models.keys()].filter((index) =>
    models[index].manifest.fingerprint.startsWith(file.fingerprint),
  );
  if (!fitting.length) {
    const names = models.map(({ name }) => name).join(", ");
    throw new Error(`made with a model that this page lacks (${file.fingerprint}); it has ${names}`);
  }
  return fitting;
}

/** Offers models, the one in use first. @param {number[]} fitting */
function fillModels(fitting) {
  const chosen = byId("model").value;
  byId("model").replaceChildren(
    ...fitting.map((index) => new Option(titleOf(models[index].manifest), String(index))),
  );
  if (fitting.map(String).includes(chosen)) byId("model").value = chosen;
}

function titleOf({ name, resolution, files }) {
  const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
  return `${name}: ${resolution} px (${(bytes / 1e6).toFixed(1)} MB)`;
}

/** Shows the current file's first bytes; at first from the coarsest on, where that is quick. */
async function show(first, growing = false) {
  status("Decoding.");
  const answer = await decode(first);
  if (!answer) return;
  if (growing && answer.milliseconds < QUICK && !wantsCalm()) await grow();
  fail();
  draw(answer.image, first);
  note();
  const place = answer.device === "webgpu" ? " on the graphics card" : "";
  status(`Decoded in ${Math.round(answer.milliseconds)} ms${place}.`);
  beside(first, answer.image).catch((error) => fail(error.message));
}

/** Whether the reader has asked for less motion. */
const wantsCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Shows the images of more and more bytes of the current file, until another is opened. */
async function grow() {
  const { file, data } = current;
  for (let step = 1; step < STEPS; step++) {
    const first = Math.round(HEADER + ((data.length - HEADER) * step) / STEPS);
    const answer = await decode(first).catch(() => null); // it ends within the header
    if (current.file !== file) return;
    if (answer) draw(answer.image, first);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

/** Shows what the slider says, and what it says meanwhile. */
async function follow() {
  wanted = Number(byId("bytes").value);
  if (following) return;
  following = true;
  try {
    while (wanted !== null) {
      const first = wanted;
      wanted = null;
      await show(first);
    }
  } finally {
    following = false;
  }
}

/** @param {{width: number, height: number, pixels: Uint8Array}} image @param {number} first */
function draw(image, first) {
  const canvas = byId("image");
  paint(canvas, image);
  byId("stage").classList.toggle("small", Math.max(image.width, image.height) < 384);
  canvas.dataset.bytes = String(first);
  if (wanted === null) byId("bytes").value = String(first);
  byId("used").textContent = `${first} of ${current.data.length}`;
  byId("shown").hidden = false;
}

async function openFile(file) {
  if (file.size > LARGEST_FILE) return fail(`${file.name}: too large to be an .ivc file`);
  await open(new Uint8Array(await file.arrayBuffer()), file.name);
}

const isImage = (file) => file.type.startsWith("image/");

/** Files that are dropped or pasted: .ivc files first, then images beside them. @param {File[]} files */
async function take(files) {
  try {
    for (const file of [...files].sort((a, b) => Number(isImage(a)) - Number(isImage(b)))) {
      await (isImage(file) ? takeImage(file) : openFile(file));
    }
  } catch (error) {
    fail(error.message);
  }
}

/** An image is a QR code of a file, or else an original. @param {File} picture */
async function takeImage(picture) {
  fail();
  status("Looking for a QR code.");
  const { data, codes } = await fileInPicture(picture);
  if (data) return open(data, picture.name);
  if (codes) throw new Error(`${picture.name}: ${reasonOf(codes)}`);
  await compareWith(picture);
}

/** @param {File} picture the original */
async function compareWith(picture) {
  await keepOriginal(picture);
  const of = current ? `of ${current.name}` : "for the file that is opened next";
  status(`${picture.name} is the original ${of}.${current ? "" : " Now open an .ivc file."}`);
}

/** @param {string} text base64, of either alphabet; a data URL or a link, too @param {string} name */
async function openText(text, name) {
  const digits = text.replace(/^.*(base64,|#ivc=)/s, "").replace(/\s+/g, "");
  let bytes;
  try {
    bytes = atob(digits.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return fail(`${name}: not base64`);
  }
  await open(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0)), name);
}

const base64 = (data) =>
  btoa(String.fromCharCode(...data)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function save() {
  byId("image").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${current.name.replace(/\.ivc$/i, "")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
}

async function copyLink() {
  const link = new URL(location.href);
  link.hash = `ivc=${base64(current.data)}`;
  try {
    await navigator.clipboard.writeText(link.href);
    status("The link is copied.");
  } catch {
    location.hash = link.hash;
    status("The link is this page's address now.");
  }
}

function listen() {
  on("file", "change", ({ target }) => {
    const [file] = target.files;
    target.value = ""; // the same file can be chosen again
    if (file) return openFile(file);
  });
  on("decode", "click", () => openText(byId("text").value, "pasted text"));
  on("model", "change", follow);
  on("bytes", "input", follow);
  on("play", "click", async () => {
    await grow();
    await show(current.data.length);
  });
  on("save", "click", save);
  on("link", "click", copyLink);
  prepareScan(open);
  prepareComparison(compareWith);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dragging", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer?.files ?? []);
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.target === byId("text")) return;
    const { files } = event.clipboardData;
    if (files.length) take(files);
    else openText(event.clipboardData.getData("text"), "pasted text");
  });
  addEventListener("hashchange", openHash);
}

function openHash() {
  if (location.hash.startsWith("#ivc=")) openText(location.hash, "the link's image");
}

/** Keeps the page for visits without a network; after the model, which is needed first. */
async function keepPage() {
  if ("serviceWorker" in navigator) await navigator.serviceWorker.register("service_worker.js");
}

async function start() {
  const listed = await (await fetch("models.json")).json();
  models = listed.models;
  byId("about").textContent = [
    `invcomp ${listed.version}`,
    ...models.map(({ manifest }) => `${manifest.name}: ${manifest.licence ?? "its own licence"}`),
  ].join("; ");
  listen();
  const loaded = engine.ask({ model: models[0] }); // it is there then, also without a network
  loaded.catch((error) => fail(error.message)).then(keepPage);
  status("Ready.");
  openHash();
}

start().catch((error) => fail(error.message));
