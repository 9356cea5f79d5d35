/** Files in QR codes: before the camera, or in a picture. */
import { fileInCode } from "./decoder/index.js";
import { byId, fail, on, status } from "./dom.js";
import { Service } from "./service.js";

const LARGEST = 2000; // px of a picture's longer side, in which codes are looked for
const WANTED = { audio: false, video: { facingMode: "environment", width: { ideal: 1280 } } };
const REASONS = {
  NotAllowedError: "the browser or its user does not allow it",
  NotFoundError: "there is none",
  OverconstrainedError: "there is none",
  NotReadableError: "another program may be using it",
};
let service = null;
/** @type {MediaStream | null} */
let stream = null;

/** Connects the controls. @param {(data: Uint8Array, name: string) => Promise<void>} open shows a file */
export function prepareScan(open) {
  on("scan", "click", async () => {
    if (stream) return stop();
    fail();
    const data = await watched();
    if (data) await open(data, "scanned code");
  });
  on("code", "change", async ({ target }) => {
    const [picture] = target.files;
    target.value = ""; // the same picture can be chosen again
    if (!picture) return;
    status("Looking for a QR code.");
    const { data, codes } = await fileInPicture(picture);
    if (!data) throw new Error(`${picture.name}: ${reasonOf(codes)}`);
    await open(data, picture.name);
  });
}

/** @param {number} codes that were found */
export const reasonOf = (codes) =>
  codes ? "the QR code holds no .ivc file" : "no QR code that can be read was found";

/**
 * The .ivc file in a QR code of a picture.
 *
 * @param {Blob} picture
 * @returns {Promise<{data: Uint8Array | null, codes: number}>} the file, and how many codes there are
 */
export async function fileInPicture(picture) {
  const bitmap = await createImageBitmap(picture).catch(() => {
    throw new Error(`${picture.name}: not an image that this browser reads`);
  });
  const longer = Math.max(bitmap.width, bitmap.height);
  for (const side of [Math.min(longer, LARGEST), 2 * longer]) { // small codes, enlarged
    if (side > LARGEST) break;
    const found = await read(bitmap, bitmap.width, bitmap.height, side / longer);
    if (found.codes) return found;
  }
  return { data: null, codes: 0 };
}

/** The file in the first code that the camera sees; null if the reader stops it before. */
async function watched() {
  stream = await opened();
  const video = byId("camera");
  const ours = stream;
  try {
    video.srcObject = ours;
    shows(true);
    await video.play();
    status("Hold a QR code before the camera.");
    while (stream === ours) {
      const { data, codes } = await read(video, video.videoWidth, video.videoHeight, 1);
      if (data) return data;
      if (codes) status("This QR code holds no .ivc file.");
      await new Promise((resolve) => setTimeout(resolve, 50)); // a hidden page gets no frames
    }
    return null;
  } finally {
    if (stream === ours) stop();
  }
}

async function opened() {
  if (!navigator.mediaDevices) {
    throw new Error("No camera: browsers allow it on https: and on localhost only.");
  }
  byId("scan").disabled = true; // while the browser asks whether it may
  try {
    return await navigator.mediaDevices.getUserMedia(WANTED);
  } catch (error) {
    throw new Error(`No camera: ${REASONS[error.name] ?? error.message}.`);
  } finally {
    byId("scan").disabled = false;
  }
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  byId("camera").srcObject = null;
  shows(false);
  status("The camera is off.");
}

/** @param {boolean} isOn */
function shows(isOn) {
  byId("camera").hidden = !isOn;
  byId("scan").textContent = isOn ? "Stop the camera" : "Scan a QR code";
}

async function read(source, width, height, scale) {
  if (!width || !height) return { data: null, codes: 0 }; // before the first frame
  const canvas = document.createElement("canvas");
  const size = [width, height].map((length) => Math.max(1, Math.round(length * scale)));
  [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, ...size);
  context.drawImage(source, 0, 0, ...size);
  const image = context.getImageData(0, 0, ...size);
  service ??= new Service("./code_reader.js");
  const { contents } = await service.ask({ image }, [image.data.buffer]);
  const data = contents.map(fileInCode).find(Boolean) ?? null;
  return { data, codes: contents.length };
}
