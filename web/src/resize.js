/**
 * Images of another size than the generator's: cut out of its square, and resized.
 *
 * @typedef {{width: number, height: number, pixels: Uint8Array | Uint8ClampedArray}} Rgb
 *   rows of pixels, three bytes each
 */

const LOBES = 3;

/**
 * The decoded image at the size that its file says: the padding is cut off, the rest is resized.
 *
 * @param {Rgb} image in the generator's square
 * @param {import("./container.js").IvcFile} file
 * @returns {Rgb}
 */
export function atOriginalSize(image, file) {
  if (!file.originalSize) return image;
  const [width, height] = file.originalSize;
  return resize(file.padded ? withoutPadding(image, width, height) : image, width, height);
}

/** @param {Rgb} image @param {number} width @param {number} height of the original */
function withoutPadding(image, width, height) {
  const [side, longer] = [image.width, Math.max(width, height)];
  const [w, h] = [width, height].map((length) =>
    Math.max(1, Math.floor((2 * length * side + longer) / (2 * longer))),
  );
  const [left, top] = [Math.floor((side - w) / 2), Math.floor((side - h) / 2)];
  const pixels = new Uint8Array(3 * w * h);
  for (let y = 0; y < h; y++) {
    const start = 3 * ((top + y) * side + left);
    pixels.set(image.pixels.subarray(start, start + 3 * w), 3 * y * w);
  }
  return { width: w, height: h, pixels };
}

/** Lanczos, as Pillow does it: columns first, rounded, then rows. @param {Rgb} image @param {number} width @param {number} height */
export function resize(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const wide = alongRows(image, width);
  return transposed(alongRows(transposed(wide), height));
}

/** @param {Rgb} image @param {number} width @returns {Rgb} */
function alongRows(image, width) {
  if (image.width === width) return image;
  const pixels = new Uint8ClampedArray(3 * width * image.height);
  for (let x = 0; x < width; x++) {
    const { first, weights } = kernel(x, image.width, width);
    for (let y = 0; y < image.height; y++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        let at = 3 * (y * image.width + first) + channel;
        for (const weight of weights) {
          sum += weight * image.pixels[at];
          at += 3;
        }
        pixels[3 * (y * width + x) + channel] = sum; // rounded and clamped by the array
      }
    }
  }
  return { width, height: image.height, pixels };
}

/** @param {Rgb} image @returns {Rgb} */
function transposed({ width, height, pixels }) {
  const turned = new Uint8ClampedArray(pixels.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [from, to] = [3 * (y * width + x), 3 * (x * height + y)];
      for (let channel = 0; channel < 3; channel++) turned[to + channel] = pixels[from + channel];
    }
  }
  return { width: height, height: width, pixels: turned };
}

/** What pixel x of `outputs` is of `inputs` pixels. @param {number} x @param {number} inputs @param {number} outputs */
function kernel(x, inputs, outputs) {
  const scale = inputs / outputs;
  const stretch = Math.max(scale, 1);
  const [centre, reach] = [(x + 0.5) * scale, LOBES * stretch];
  const first = Math.max(0, Math.floor(centre - reach + 0.5));
  const end = Math.min(inputs, Math.floor(centre + reach + 0.5));
  const weights = Array.from({ length: end - first }, (_, k) =>
    lanczos((first + k - centre + 0.5) / stretch),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return { first, weights: weights.map((weight) => weight / total) };
}

/** @param {number} x */
function lanczos(x) {
  if (x <= -LOBES || x >= LOBES) return 0;
  return sinc(x) * sinc(x / LOBES);
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}
