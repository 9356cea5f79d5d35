/** The elements of the page, and what it tells. */
export const byId = (id) => document.getElementById(id);

/** @param {string} text what the page is doing, or has done */
export function status(text) {
  byId("status").textContent = text;
}

/** @param {string} text why something failed; none takes such a line away */
export function fail(text = "") {
  byId("error").textContent = text;
  byId("error").hidden = !text;
  if (text) status("");
}

/** @param {string} name @param {string} text @returns {HTMLElement} */
export function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/** Runs something that a control asks for; shows why it failed. */
export const on = (id, event, act) =>
  byId(id).addEventListener(event, (happened) => {
    Promise.resolve(act(happened)).catch((error) => fail(error.message));
  });

/**
 * Puts pixels on a canvas.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {{width: number, height: number, pixels: Uint8Array | Uint8ClampedArray}} image
 */
export function paint(canvas, { width, height, pixels }) {
  const shown = new ImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    shown.data.set(pixels.subarray(3 * at, 3 * at + 3), 4 * at);
    shown.data[4 * at + 3] = 255;
  }
  Object.assign(canvas, { width, height });
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(shown, 0, 0);
}
