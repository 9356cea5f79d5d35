/** The original beside the decoded image, and a conventional codec's file of as many bytes. */
import { resize } from "./decoder/index.js";
import { byId, on, paint } from "./dom.js";
import { Service } from "./service.js";

const LARGEST = 2048; // px of the original's longer side before it is resized
let service = null;
/** @type {{bitmap: ImageBitmap, isUsed: boolean} | null} isUsed: a file is shown beside it */
let original = null;
/** @type {{bytes: number, width: number, height: number} | null} of the decoded image */
let shown = null;
let isBusy = false;
let isStale = false; // what is being made is not what is wanted any more

/** Connects the controls. @param {(picture: File) => Promise<void>} take what is done with an original */
export function prepareComparison(take) {
  on("original", "change", async ({ target }) => {
    const [picture] = target.files;
    target.value = "";
    if (picture) await take(picture);
  });
  on("rival", "change", () => compare());
  on("curtain", "input", moveCurtain);
  on("alone", "click", () => forget());
}

/** Keeps an original for the file that is open, or for the next one. @param {File} picture */
export async function keepOriginal(picture) {
  const bitmap = await createImageBitmap(picture).catch(() => {
    throw new Error(`${picture.name}: not an image that this browser reads`);
  });
  original = { bitmap, isUsed: shown !== null };
  if (shown) await compare();
}

/** Another file is open: the original of the one before goes, one that waits for a file stays. */
export function forgetOriginal() {
  shown = null;
  if (original?.isUsed) forget();
}

function forget() {
  original = null;
  isStale = true;
  byId("compared").hidden = byId("veil").hidden = byId("curtain").hidden = true;
}

/** A decoded image is shown. @param {number} bytes that it was made of @param {{width: number, height: number}} image */
export async function beside(bytes, { width, height }) {
  shown = { bytes, width, height };
  if (original) await compare();
}

/** Shows what is wanted, and what is wanted meanwhile. */
async function compare() {
  isStale = true;
  if (isBusy) return;
  isBusy = true;
  try {
    while (isStale && original && shown) {
      isStale = false;
      const made = await rivalOf(original, shown, byId("rival").value);
      if (!isStale) reveal(made);
    }
  } finally {
    isBusy = false;
  }
}

/** What the decoded image is compared with, and what it is called. */
async function rivalOf(kept, { bytes, width, height }, choice) {
  kept.isUsed = true;
  const image = fitted(kept.bitmap, width, height);
  const found = choice === "codec" ? await encoded(image, bytes) : {};
  const caption = `the original, ${width} x ${height} px`;
  return { image, caption, note: "", left: `invcomp, ${bytes.toLocaleString("en")} bytes`, ...found };
}

function reveal({ image, caption, note, left }) {
  paint(byId("veil"), image);
  byId("right").textContent = caption;
  byId("left").textContent = left;
  byId("without").textContent = note;
  byId("compared").hidden = byId("veil").hidden = byId("curtain").hidden = false;
  moveCurtain();
}

/** The codec's image, and what it is; the image is missing where no file is so small. */
async function encoded(image, limit) {
  service ??= new Service("./conventional.js");
  const found = await service.ask({ original: image, limit });
  const isWebp = found.label === "WebP";
  const missing = isWebp ? "" : `This browser writes no WebP; ${found.label} takes its place. `;
  if (!found.image) {
    return { note: `${missing}No ${found.label} of at most ${limit} bytes; this is the original.` };
  }
  const [width, height] = found.size;
  const bytes = found.bytes.toLocaleString("en");
  const caption = `${found.label}, ${bytes} bytes, ${width} x ${height} px enlarged`;
  return { image: found.image, caption, note: missing };
}

/** The original at the decoded image's size: its centre, where their proportions differ. */
function fitted(bitmap, width, height) {
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const [cutWidth, cutHeight] = [width * scale, height * scale];
  const shrink = Math.min(1, LARGEST / Math.max(cutWidth, cutHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(cutWidth * shrink));
  canvas.height = Math.max(1, Math.round(cutHeight * shrink));
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const [left, top] = [(bitmap.width - cutWidth) / 2, (bitmap.height - cutHeight) / 2];
  context.drawImage(bitmap, left, top, cutWidth, cutHeight, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = data.filter((_, at) => at % 4 < 3);
  return resize({ width: canvas.width, height: canvas.height, pixels }, width, height);
}

function moveCurtain() {
  const percent = byId("curtain").value;
  byId("stage").style.setProperty("--curtain", `${percent}%`);
  const rest = byId("right").textContent;
  byId("curtain").setAttribute("aria-valuetext", `${percent}% invcomp, the rest ${rest}`);
}
