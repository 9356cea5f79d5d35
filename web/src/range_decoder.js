/**
 * The range decoder of docs/format.md: 64-bit state as BigInt, 24 bits of precision, so exact.
 */
import { BitstreamError, Unsettled } from "./errors.js";

export const TOTAL = 1 << 24;
const PRECISION = 24n;
const WORD = 32n;
const LEAST = 1n << WORD;
const MASK = (1n << 64n) - 1n;
const LONGEST = 30; // bits 1 at the beginning of an escape's code

/**
 * A symbol's frequencies: `starts` has one more entry than there are symbols, the last is 2^24.
 *
 * @typedef {Uint32Array | number[]} Starts
 */

/** A fair bit. */
export const FAIR = [0, TOTAL / 2, TOTAL];

/**
 * The alphabet 0, 1, ..., count - 1 with equal frequencies; the last has what is left.
 *
 * @param {number} count at least 2
 * @returns {Starts}
 */
export function uniform(count) {
  const each = Math.floor(TOTAL / count);
  return Uint32Array.from({ length: count + 1 }, (_, k) => (k === count ? TOTAL : k * each));
}

/** Reads a payload that is complete. */
export class RangeDecoder {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.at = 0;
    this.range = MASK;
    this.point = (this.word() << WORD) | this.word();
  }

  /** The next 4 bytes, zeros past the end. */
  word() {
    const { data, at } = this;
    this.at = at + 4;
    const [a, b, c, d] = [data[at] ?? 0, data[at + 1] ?? 0, data[at + 2] ?? 0, data[at + 3] ?? 0];
    return BigInt(a * 0x1000000 + b * 0x10000 + c * 0x100 + d);
  }

  /** The index of the next symbol. @param {Starts} starts */
  symbol(starts) {
    const scale = this.range >> PRECISION;
    const quantile = Number(this.point / scale);
    if (quantile >= TOTAL) {
      throw new BitstreamError("altered: its payload holds a code that means nothing");
    }
    const index = found(starts, quantile);
    this.point -= scale * BigInt(starts[index]);
    this.range = scale * BigInt(starts[index + 1] - starts[index]);
    if (this.range < LEAST) {
      this.range <<= WORD;
      this.point = (this.point << WORD) | this.word();
    }
    return index;
  }

  /**
   * An integer beyond the alphabet, which follows an escape.
   *
   * @param {number} largest M, of the alphabet
   */
  escaped(largest) {
    let [length, value] = [0, 1];
    while (this.symbol(FAIR)) {
      if (++length > LONGEST) throw past32Bits();
    }
    for (let bit = 0; bit < length; bit++) value = 2 * value + this.symbol(FAIR);
    const isNegative = this.symbol(FAIR);
    if (largest + value > 0x7fffffff) throw past32Bits();
    return isNegative ? -(largest + value) : largest + value;
  }

  /**
   * Refuses a payload that is not the shortest byte string with its contents, or not the smallest
   * of these.
   *
   * `point` is how far the payload lies above the lower end of the interval of all such numbers,
   * in units of the last digit read; `range` is the width of that interval.
   */
  checkShortest() {
    const [length, digits] = [this.data.length, this.at];
    const refused = new BitstreamError("altered: its payload is not in its shortest form");
    if (length > digits) throw refused;
    if (length === 0) return;
    const unit = 1n << BigInt(8 * (digits - length)); // of the payload's last byte
    if (this.point >= unit) throw refused; // the byte string before this one would do
    const last = BigInt(this.data[length - 1]) * unit;
    const shorter = unit << 8n;
    const above = (((this.point - last) % shorter) + shorter) % shorter;
    if (above < this.range) throw refused; // one with a byte less lies in the interval, too
  }
}

/**
 * Reads the beginning of a payload, up to the first symbol that missing bytes decide.
 *
 * Symbols are monotonic in the bytes, so one is certain if zeros and ones after these bytes make
 * the same.
 */
export class BeginningDecoder {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.ends = [0x00, 0xff].map((byte) => {
      const padded = new Uint8Array(data.length + 16).fill(byte);
      padded.set(data);
      return new RangeDecoder(padded);
    });
  }

  /** @param {Starts} starts */
  symbol(starts) {
    return this.settled((end) => end.symbol(starts));
  }

  /** @param {number} largest */
  escaped(largest) {
    return this.settled((end) => end.escaped(largest));
  }

  checkShortest() {}

  /** @param {(end: RangeDecoder) => number} read */
  settled(read) {
    let low, high;
    try {
      [low, high] = this.ends.map(read);
    } catch (error) {
      if (error instanceof BitstreamError) throw new Unsettled();
      throw error;
    }
    if (low !== high) throw new Unsettled();
    return low;
  }
}

/** The index of the symbol that holds a quantile, by bisection. @param {Starts} starts @param {number} quantile */
function found(starts, quantile) {
  let [low, high] = [0, starts.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= quantile) low = middle;
    else high = middle;
  }
  return low;
}

function past32Bits() {
  return new BitstreamError("altered: its payload holds an integer past 32 bits");
}
