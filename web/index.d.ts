/** A part of a file after the coordinates. */
export interface Layer {
  tag: number;
  payload: Uint8Array;
}

/** The fields of an .ivc file. */
export interface IvcFile {
  version: number;
  /** The first 4 bytes of the bundle's fingerprint, as 8 hexadecimal digits. */
  fingerprint: string;
  /** s; q_step is 2^(-s/16). */
  stepIndex: number;
  payloads: Uint8Array[];
  /** How many payloads are not complete: 0 in a whole file. */
  missing: number;
  beginning: Uint8Array;
  layers: Layer[];
  cut: Layer | null;
  originalSize: [number, number] | null;
  padded: boolean;
}

/** tables.json of `invcomp export`. */
export interface Tables {
  frequencies: number[][];
  first_ratio: number;
  ratio_stride: number;
  scales: number[];
  slopes?: number[] | null;
  classes?: number;
  segment_ends?: number[] | null;
  detail?: DetailTables;
}

export interface DetailTables extends Tables {
  digest: string;
  maps: [channels: number, size: number][];
  boosts: number[][][][];
}

/** Rows of pixels, three bytes each. */
export interface Rgb {
  width: number;
  height: number;
  pixels: Uint8Array | Uint8ClampedArray;
}

/** A file cannot be read; the message is one clear line. */
export class BitstreamError extends Error {}
/** A newer program may be able to read the file. */
export class VersionError extends BitstreamError {}

export const FACES: 1;
export const PHOTO: 2;
export const DETAIL: 3;
export const CONVENTIONAL: 129;

/** Reads a file, or its first bytes. Throws BitstreamError. */
export function unpack(data: Uint8Array, first?: number): IvcFile;
/** The payload of a layer; null if the file has no such layer, or not all of it. */
export function layerOf(file: IvcFile, tag: number): Uint8Array | null;
/** The integers of the coordinates, zero where nothing is known. Throws BitstreamError. */
export function coordinatesOf(
  file: IvcFile,
  tables: Tables,
): { integers: Int32Array; classIndex: number };
/** The integers of the detail, of each map; null if the file has none of this bundle. */
export function detailOf(file: IvcFile, tables: Tables): Int32Array[] | null;
/** All inputs of an exported network, by their names. Throws BitstreamError. */
export function inputsOf(file: IvcFile, tables: Tables): Record<string, Int32Array>;
/** The decoded image without padding, at the size that its file says. */
export function atOriginalSize(image: Rgb, file: IvcFile): Rgb;
/** Lanczos, as Pillow does it. */
export function resize(image: Rgb, width: number, height: number): Rgb;
/** The .ivc file in the contents of a QR code, bytes or base45; null if they hold none. */
export function fileInCode(contents: Uint8Array): Uint8Array | null;
/** Bytes of base45 (RFC 9285); null if the text is no base45. */
export function fromBase45(text: string): Uint8Array | null;
