/** The detail: integers of inner maps, each with the scale of what is decoded around it. */
import { DETAIL } from "./container.js";
import { BitstreamError, Unsettled } from "./errors.js";
import { BeginningDecoder, RangeDecoder, uniform } from "./range_decoder.js";
import { Alphabets } from "./tables.js";

const CHOICES = uniform(4); // of a channel: nothing, or one of three scales
const DIGEST = 2; // bytes at the beginning of the layer

/**
 * Decodes the detail of a file.
 *
 * @param {import("./container.js").IvcFile} file
 * @param {import("./tables.js").Tables} tables of the bundle that the file names
 * @returns {Int32Array[] | null} of each map, [channels, size, size] flat, the coarsest first; zero
 *   where nothing is known. null: the file has no detail of this bundle.
 */
export function detailOf(file, tables) {
  const layer = [...file.layers, ...(file.cut ? [file.cut] : [])].find(({ tag }) => tag === DETAIL);
  if (!layer || !tables.detail || !belongs(layer.payload, tables.detail.digest)) return null;
  const payload = layer.payload.subarray(DIGEST);
  const maps = tables.detail.maps.map(([channels, size]) => new Int32Array(channels * size * size));
  const decoder = layer === file.cut ? new BeginningDecoder(payload) : new RangeDecoder(payload);
  try {
    readMaps(decoder, tables.detail, file.stepIndex, maps);
  } catch (error) {
    if (!(error instanceof Unsettled)) throw error;
  }
  decoder.checkShortest();
  return maps;
}

/** @param {Uint8Array} payload @param {string} digest in hexadecimal digits */
function belongs(payload, digest) {
  if (payload.length < DIGEST) return false;
  return parseInt(digest.slice(0, 2 * DIGEST), 16) === ((payload[0] << 8) | payload[1]);
}

/**
 * @param {RangeDecoder | BeginningDecoder} decoder
 * @param {import("./tables.js").DetailTables} tables
 * @param {number} stepIndex
 * @param {Int32Array[]} maps
 */
function readMaps(decoder, tables, stepIndex, maps) {
  const alphabets = new Alphabets(tables);
  const used = decoder.symbol(uniform(tables.scales.length + 1));
  /** @type {{size: number, sum: Int32Array}[]} */
  const coarser = [];
  let k = 0;
  for (const [index, [channels, size]] of tables.maps.entries()) {
    const around = new Around(size, coarser);
    for (let channel = 0; channel < channels; channel++, k++) {
      if (k === used) return;
      const values = maps[index].subarray(channel * size * size, (channel + 1) * size * size);
      const choice = decoder.symbol(CHOICES);
      if (choice) {
        const ratio = alphabets.ratio(k, stepIndex) + 8 * (choice - 2);
        readChannel(decoder, alphabets, tables.boosts, ratio, values, around);
        around.add(values);
      }
      const isEmpty = values.every((value) => value === 0);
      if (isEmpty && decoder instanceof RangeDecoder && (choice || k === used - 1)) {
        throw new BitstreamError("altered: its payload is not in its shortest form");
      }
    }
    coarser.push({ size, sum: around.sum });
  }
}

/**
 * @param {RangeDecoder | BeginningDecoder} decoder
 * @param {Alphabets} alphabets
 * @param {number[][][][]} boosts
 * @param {number} ratio of the channel
 * @param {Int32Array} values
 * @param {Around} around
 */
function readChannel(decoder, alphabets, boosts, ratio, values, around) {
  const { size } = around;
  for (const half of [0, 1]) {
    for (let y = 0; y < size; y++) {
      for (let x = (y + half) % 2; x < size; x += 2) {
        const near = half ? neighbours(values, size, y, x) : 0;
        const i = Number(near >= 1) + Number(near >= 2);
        const [j, l] = around.levels(y, x);
        const starts = alphabets.row(ratio + boosts[half][i][j][l]);
        values[y * size + x] = alphabets.integer(decoder, starts);
      }
    }
  }
}

/** What is decoded around the places of a map: sums of magnitudes. */
class Around {
  /** @param {number} size @param {{size: number, sum: Int32Array}[]} coarser */
  constructor(size, coarser) {
    this.size = size;
    this.sum = new Int32Array(size * size); // over the earlier channels of this map
    this.coarser = new Int32Array(size * size);
    for (const map of coarser) {
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
          const [row, column] = [y, x].map((place) => Math.floor((place * map.size) / size));
          this.coarser[y * size + x] += map.sum[row * map.size + column];
        }
      }
    }
  }

  /** Levels of the earlier channels, and of the coarser maps. @param {number} y @param {number} x */
  levels(y, x) {
    const at = y * this.size + x;
    const earlier = 2 * this.sum[at] + neighbours(this.sum, this.size, y, x);
    const coarse = this.coarser[at];
    return [
      Number(earlier >= 1) + Number(earlier >= 3) + Number(earlier >= 6),
      Number(coarse >= 1) + Number(coarse >= 3),
    ];
  }

  /** A channel is decoded. @param {Int32Array} values */
  add(values) {
    values.forEach((value, at) => (this.sum[at] += Math.abs(value)));
  }
}

/**
 * The sum of the magnitudes above, below, left and right of a place.
 *
 * @param {Int32Array} values @param {number} size @param {number} y @param {number} x
 */
function neighbours(values, size, y, x) {
  const at = y * size + x;
  return (
    (y > 0 ? Math.abs(values[at - size]) : 0) +
    (y < size - 1 ? Math.abs(values[at + size]) : 0) +
    (x > 0 ? Math.abs(values[at - 1]) : 0) +
    (x < size - 1 ? Math.abs(values[at + 1]) : 0)
  );
}
