/** A decoder of .ivc files, up to the integers that the exported network takes. */
export { CONVENTIONAL, DETAIL, FACES, PHOTO, layerOf, unpack } from "./container.js";
export { coordinatesOf } from "./coordinates.js";
export { detailOf } from "./detail.js";
export { BitstreamError, VersionError } from "./errors.js";
export { inputsOf } from "./inputs.js";
export { fileInCode, fromBase45 } from "./qr.js";
export { atOriginalSize, resize } from "./resize.js";
