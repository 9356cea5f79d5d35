/** The integers of a file's coordinates, and its class. */
import { BitstreamError, Unsettled } from "./errors.js";
import { BeginningDecoder, RangeDecoder, uniform } from "./range_decoder.js";
import { Alphabets, valueOf } from "./tables.js";

/**
 * Decodes the coordinates of a file.
 *
 * @param {import("./container.js").IvcFile} file
 * @param {import("./tables.js").Tables} tables of the bundle that the file names
 * @returns {{integers: Int32Array, classIndex: number}} integers are zero where nothing is known
 */
export function coordinatesOf(file, tables) {
  const alphabets = new Alphabets(tables);
  const found = { integers: new Int32Array(tables.scales.length), classIndex: 0 };
  const parts = [...file.payloads, ...(file.missing ? [file.beginning] : [])];
  const [bounds, classes] = [boundsOf(file, tables), tables.classes ?? 1];
  parts.forEach((payload, index) => {
    const whole = index < file.payloads.length;
    const decoder = whole ? new RangeDecoder(payload) : new BeginningDecoder(payload);
    try {
      if (index === 0 && classes > 1) found.classIndex = decoder.symbol(uniform(classes));
      const part = /** @type {[number, number]} */ (bounds.slice(index, index + 2));
      readIntegers(decoder, alphabets, file, part, found.integers);
    } catch (error) {
      if (!(error instanceof Unsettled)) throw error;
    }
    decoder.checkShortest();
  });
  return found;
}

/**
 * Where the coordinates of each payload begin, and where the last ends.
 *
 * @param {import("./container.js").IvcFile} file
 * @param {import("./tables.js").Tables} tables
 */
function boundsOf(file, tables) {
  const count = file.payloads.length + file.missing;
  const ends = tables.segment_ends ?? [tables.scales.length];
  if (count === 1) return [0, tables.scales.length];
  if (count !== ends.length) {
    throw new BitstreamError(`altered: ${count} segments, its bundle has ${ends.length}`);
  }
  return [0, ...ends];
}

/**
 * @param {RangeDecoder | BeginningDecoder} decoder
 * @param {Alphabets} alphabets
 * @param {import("./container.js").IvcFile} file
 * @param {[number, number]} part of the coordinates
 * @param {Int32Array} integers
 */
function readIntegers(decoder, alphabets, file, [start, end], integers) {
  const row = (/** @type {number} */ k) => alphabets.row(alphabets.ratio(k, file.stepIndex));
  if (file.version > 1) {
    for (let k = start; k < end; k++) integers[k] = alphabets.integer(decoder, row(k));
    return;
  }
  const escaped = []; // version 1 has their codes after all symbols
  for (let k = start; k < end; k++) {
    const symbol = decoder.symbol(row(k));
    if (symbol !== alphabets.escape) integers[k] = valueOf(symbol);
    else if (decoder instanceof BeginningDecoder) throw new Unsettled();
    else escaped.push(k);
  }
  for (const k of escaped) integers[k] = decoder.escaped(alphabets.largest);
}
