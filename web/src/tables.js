/**
 * The tables of a bundle: frequencies of integers, and which row a coordinate uses.
 *
 * @typedef {object} Tables as in tables.json of `invcomp export`
 * @property {number[][]} frequencies of -M, ..., M and the escape, each row sums to 2^24
 * @property {number} first_ratio
 * @property {number} ratio_stride
 * @property {number[]} scales
 * @property {number[] | null} [slopes]
 * @property {number} [classes]
 * @property {number[] | null} [segment_ends] of files of version 1
 * @property {DetailTables} [detail]
 *
 * @typedef {Tables & {digest: string, maps: [number, number][], boosts: number[][][][]}} DetailTables
 */

/** Tables in the form that decoding needs. */
export class Alphabets {
  /** @param {Tables} tables */
  constructor(tables) {
    this.tables = tables;
    this.largest = tables.frequencies[0].length / 2 - 1;
    this.escape = 2 * this.largest + 1;
    this.starts = tables.frequencies.map((row) => startsOf(row, this.largest));
  }

  /**
   * Scale index of coordinate or channel k, relative to the q_step.
   *
   * @param {number} k
   * @param {number} stepIndex
   */
  ratio(k, stepIndex) {
    const { scales, slopes } = this.tables;
    return scales[k] + Math.floor(((slopes?.[k] ?? 0) * stepIndex) / 256) + stepIndex;
  }

  /** The row of a ratio index, as its cumulative frequencies. @param {number} ratio */
  row(ratio) {
    const { first_ratio: first, ratio_stride: stride } = this.tables;
    const nearest = Math.floor((ratio - first + Math.floor(stride / 2)) / stride);
    return this.starts[Math.min(Math.max(nearest, 0), this.starts.length - 1)];
  }

  /**
   * The next integer of a decoder, its escape's code included.
   *
   * @param {import("./range_decoder.js").RangeDecoder | import("./range_decoder.js").BeginningDecoder} decoder
   * @param {Uint32Array} starts
   */
  integer(decoder, starts) {
    const symbol = decoder.symbol(starts);
    return symbol === this.escape ? decoder.escaped(this.largest) : valueOf(symbol);
  }
}

/** The integer of a symbol in the order 0, 1, -1, 2, -2, ... @param {number} symbol */
export function valueOf(symbol) {
  return symbol % 2 ? (symbol + 1) / 2 : -symbol / 2 || 0;
}

/** Cumulative frequencies in the order of the symbols. @param {number[]} row @param {number} largest */
function startsOf(row, largest) {
  const starts = new Uint32Array(row.length + 1);
  for (let symbol = 0; symbol < row.length; symbol++) {
    const column = symbol < row.length - 1 ? valueOf(symbol) + largest : row.length - 1;
    starts[symbol + 1] = starts[symbol] + row[column];
  }
  return starts;
}
