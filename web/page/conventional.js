/**
 * A worker that encodes an image as this browser can: WebP, or JPEG where it writes no WebP.
 * Messages in: {original, limit}, the image and most bytes; out: {label, image, bytes, size}, the
 * decoded image at the original's size, or image null if no file is so small.
 */
import { resize } from "./decoder/index.js";
import { serve } from "./service.js";

const FORMATS = [
  { type: "image/webp", label: "WebP" },
  { type: "image/jpeg", label: "JPEG" },
];
const BEST = 95; // of 100; above, browsers may write without loss
const SMALLEST = 8; // px of the longer side
const SHRINK = 0.85; // from one size to the next
const RIFF = 12; // bytes before the first chunk of a WebP file

serve(async ({ original, limit }) => {
  const format = await written();
  const best = await closest(original, limit, format.type);
  const answer = { label: format.label, image: null, ...best };
  return { answer, transferred: best ? [best.image.pixels.buffer] : [] };
});

/** The first format that this browser writes; others silently become PNG. */
async function written() {
  const dot = { width: 1, height: 1, pixels: new Uint8Array(3) };
  for (const format of FORMATS) {
    const blob = await canvasOf(dot).convertToBlob({ type: format.type });
    if (blob.type === format.type) return format;
  }
  throw new Error("this browser writes neither WebP nor JPEG");
}

/** The file that fits with the least squared error, of the sizes in pixels from the smallest on. */
async function closest(original, limit, type) {
  const longer = Math.max(original.width, original.height);
  const count = Math.ceil(Math.log(longer / SMALLEST) / -Math.log(SHRINK));
  let best = null;
  for (let step = Math.max(count, 0); step >= 0; step--) {
    const [width, height] = [original.width, original.height].map((length) =>
      Math.max(1, Math.round(length * SHRINK ** step)),
    );
    const file = await largestWithin(resize(original, width, height), limit, type);
    if (!file) break; // larger ones need more
    const image = resize(await decoded(file), original.width, original.height);
    const distance = squaredError(image.pixels, original.pixels);
    if (!best || distance < best.distance) {
      best = { image, distance, bytes: file.size, size: [width, height] };
    }
  }
  return best;
}

/** The file of the highest quality with at most so many bytes; null if there is none. */
async function largestWithin(image, limit, type) {
  const canvas = canvasOf(image);
  let [best, low, high] = [null, 0, BEST];
  while (low <= high) {
    const quality = best ? (low + high + 1) >> 1 : low; // the lowest first: often nothing fits
    const file = await bare(await canvas.convertToBlob({ type, quality: quality / 100 }));
    if (file.size <= limit) [best, low] = [file, quality + 1];
    else if (best) high = quality - 1;
    else return null;
  }
  return best;
}

/** A WebP file with its image alone, if there is more: a profile of sRGB says nothing new. @param {Blob} file */
async function bare(file) {
  if (file.type !== "image/webp") return file;
  const data = new Uint8Array(await file.arrayBuffer());
  const view = new DataView(data.buffer);
  for (let at = RIFF; at + 8 <= data.length; ) {
    const length = view.getUint32(at + 4, true);
    const end = at + 8 + length + (length % 2);
    if (String.fromCharCode(...data.subarray(at, at + 4)) === "VP8 ") {
      const kept = new Uint8Array([...data.subarray(0, RIFF), ...data.subarray(at, end)]);
      new DataView(kept.buffer).setUint32(4, kept.length - 8, true);
      return new Blob([kept], { type: file.type });
    }
    at = end;
  }
  return file;
}

/** @param {Blob} file */
async function decoded(file) {
  const bitmap = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { alpha: false });
  context.drawImage(bitmap, 0, 0);
  const { width, height, data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return { width, height, pixels: data.filter((_, at) => at % 4 < 3) };
}

function canvasOf({ width, height, pixels }) {
  const canvas = new OffscreenCanvas(width, height);
  const shown = new ImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    shown.data.set(pixels.subarray(3 * at, 3 * at + 3), 4 * at);
    shown.data[4 * at + 3] = 255;
  }
  canvas.getContext("2d", { alpha: false }).putImageData(shown, 0, 0);
  return canvas;
}

function squaredError(one, other) {
  let sum = 0;
  for (let at = 0; at < one.length; at++) sum += (one[at] - other[at]) ** 2;
  return sum;
}
