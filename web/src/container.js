/**
 * The container: the fields of an .ivc file, of versions 1 and 2. docs/format.md specifies it.
 *
 * @typedef {{tag: number, payload: Uint8Array}} Layer
 *
 * @typedef {object} IvcFile
 * @property {number} version of the format, 1 or 2
 * @property {string} fingerprint of the bundle, its first 4 bytes as 8 hexadecimal digits
 * @property {number} stepIndex s; q_step is 2^(-s/16)
 * @property {Uint8Array[]} payloads the complete ones: one, or the segments of version 1
 * @property {number} missing how many payloads are not complete
 * @property {Uint8Array} beginning what there is of the first payload that is not complete
 * @property {Layer[]} layers the complete ones
 * @property {Layer | null} cut the first layer that is not complete
 * @property {[number, number] | null} originalSize width and height, where the file has one
 * @property {boolean} padded whether the original was padded to the generator's square
 */
import { BitstreamError, VersionError } from "./errors.js";

export const FACES = 1;
export const PHOTO = 2;
export const DETAIL = 3;
export const CONVENTIONAL = 129;
const VERSION = 2;
const FIXED = 10; // bytes up to the end of the checksum
const CRITICAL = 0x80; // options and layers from this tag on must be known
const ORIGINAL_SIZE = 1;
const PADDED = 129;

/**
 * Reads a file, or the beginning of one.
 *
 * @param {Uint8Array} whole the file
 * @param {number} [first] use this many bytes only. The data may then be truncated, which no
 *   checksum can verify.
 * @returns {IvcFile}
 */
export function unpack(whole, first) {
  const data = first === undefined ? whole : whole.subarray(0, first);
  if ([0xc9, 0x56].some((byte, at) => at < data.length && data[at] !== byte)) {
    throw new BitstreamError("not an .ivc file");
  }
  if (data.length < FIXED) {
    throw new BitstreamError(`truncated: ${data.length} bytes are no whole .ivc header`);
  }
  const [version, layout] = [data[2] >> 4, data[2] & 0x0f];
  if (version > VERSION) {
    throw new VersionError(`format version ${version} is newer than this program reads (${VERSION})`);
  }
  const reader = new Reader(data, FIXED);
  const more = layout & 0x07; // segments in version 1, layers in version 2
  const tags = version === VERSION ? [...reader.take(more)] : [];
  const lengths = Array.from({ length: more }, () => reader.length());
  const options = layout & 0x08 ? readOptions(reader) : new Map();
  const verified = checksum(whole) === ((whole[8] << 8) | whole[9]);
  if (first === undefined || verified) {
    new Reader(whole, reader.at).take(lengths.reduce((sum, length) => sum + length, 0));
  }
  if (first === undefined && !verified) {
    throw new BitstreamError("altered, or cut short: its checksum does not match");
  }
  if (version === 0) throw new BitstreamError("altered: there is no format version 0");
  checkTags(tags);
  const sizes = understood(options);
  const parts = split(data, reader.at, lengths, verified ? whole.length : null);
  const count = version === VERSION ? 1 : more + 1;
  const file = assembled(data, parts, count, tags, version);
  if (tags.includes(CONVENTIONAL)) checkConventional(data, tags, lengths, parts, sizes.padded);
  return { ...file, ...sizes };
}

/**
 * The payload of a layer.
 *
 * @param {IvcFile} file
 * @param {number} tag
 * @returns {Uint8Array | null} null if the file has no such layer, or not all of it
 */
export function layerOf(file, tag) {
  return file.layers.find((layer) => layer.tag === tag)?.payload ?? null;
}

/** CRC-16/IBM-3740 of all bytes but the checksum's own. @param {Uint8Array} data */
export function checksum(data) {
  let crc = 0xffff;
  for (let at = 0; at < data.length; at++) {
    if (at === 8 || at === 9) continue;
    crc ^= data[at] << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
    crc &= 0xffff;
  }
  return crc;
}

class Reader {
  /** @param {Uint8Array} data @param {number} at */
  constructor(data, at) {
    this.data = data;
    this.at = at;
  }

  /** @param {number} count */
  take(count) {
    if (this.at + count > this.data.length) {
      throw new BitstreamError(`truncated: ${this.data.length} bytes of at least ${this.at + count}`);
    }
    this.at += count;
    return this.data.subarray(this.at - count, this.at);
  }

  length() {
    let length = 0;
    for (;;) {
      const [byte] = this.take(1);
      length += byte;
      if (byte !== 255) return length;
    }
  }
}

/** @param {Reader} reader @returns {Map<number, Uint8Array>} */
function readOptions(reader) {
  const options = new Map();
  let last = 0;
  for (let [tag] = reader.take(1); tag; [tag] = reader.take(1)) {
    if (tag <= last) throw new BitstreamError("altered: its options are out of order");
    options.set(tag, reader.take(reader.length()));
    last = tag;
  }
  return options;
}

/**
 * @param {Map<number, Uint8Array>} options
 * @returns {{originalSize: [number, number] | null, padded: boolean}}
 */
function understood(options) {
  for (const tag of options.keys()) {
    if (tag >= CRITICAL && tag !== PADDED) {
      throw new VersionError(`it needs option ${tag}, which this program lacks`);
    }
  }
  const padding = options.get(PADDED);
  const size = options.get(ORIGINAL_SIZE);
  if (padding && (padding.length || !size)) {
    throw new BitstreamError("altered: its padding makes no sense");
  }
  if (!size) return { originalSize: null, padded: false };
  const [width, height] = [(size[0] << 8) | size[1], (size[2] << 8) | size[3]];
  if (size.length !== 4 || !width || !height) {
    throw new BitstreamError("altered: its original size makes no sense");
  }
  return { originalSize: [width, height], padded: Boolean(padding) };
}

/** @param {number[]} tags */
function checkTags(tags) {
  if (tags.some((tag, index) => tag <= (index ? tags[index - 1] : 0))) {
    throw new BitstreamError("altered: its layers are out of order");
  }
  const unknown = tags.find((tag) => tag >= CRITICAL && tag !== CONVENTIONAL);
  if (unknown) throw new VersionError(`it needs layer ${unknown}, which this program lacks`);
}

/**
 * The complete payloads and layers, and where they end.
 *
 * @param {Uint8Array} data
 * @param {number} at where the first one begins
 * @param {number[]} lengths of all but the last
 * @param {number | null} size of the whole file; null: unknown
 */
function split(data, at, lengths, size) {
  const chunks = [];
  let end = at;
  for (const bound of [...lengths.map((length) => (at += length)), ...(size === null ? [] : [size])]) {
    if (bound > data.length) break;
    chunks.push(data.subarray(end, bound));
    end = bound;
  }
  return { chunks, end };
}

/**
 * @param {Uint8Array} data
 * @param {{chunks: Uint8Array[], end: number}} parts
 * @param {number} count of payloads
 * @param {number[]} tags
 * @param {number} version
 */
function assembled(data, { chunks, end }, count, tags, version) {
  const payloads = chunks.slice(0, count);
  const layers = chunks.slice(count).map((payload, index) => ({ tag: tags[index], payload }));
  const missing = count - payloads.length;
  const isCut = !missing && layers.length < tags.length;
  return {
    version,
    fingerprint: [...data.subarray(3, 7)].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    stepIndex: data[7],
    payloads,
    missing,
    beginning: missing ? data.subarray(end) : new Uint8Array(),
    layers,
    cut: isCut ? { tag: tags[layers.length], payload: data.subarray(end) } : null,
  };
}

/**
 * @param {Uint8Array} data
 * @param {number[]} tags
 * @param {number[]} lengths
 * @param {{chunks: Uint8Array[]}} parts
 * @param {boolean} padded
 */
function checkConventional(data, tags, lengths, { chunks }, padded) {
  if (data.subarray(3, 8).some(Boolean) || tags.length > 1 || lengths[0] || padded) {
    throw new BitstreamError("altered: beside its conventional stream there is something else");
  }
  if (chunks.length < 2) {
    throw new BitstreamError("truncated: a conventional stream decodes only as a whole");
  }
}
