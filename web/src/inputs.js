/** What the network of `invcomp export` takes. */
import { coordinatesOf } from "./coordinates.js";
import { detailOf } from "./detail.js";

/**
 * The inputs of an exported network for a file, by their names, each in the order of its shape.
 *
 * @param {import("./container.js").IvcFile} file
 * @param {import("./tables.js").Tables} tables
 * @returns {Record<string, Int32Array>}
 */
export function inputsOf(file, tables) {
  const { integers, classIndex } = coordinatesOf(file, tables);
  /** @type {Record<string, Int32Array>} */
  const found = { integers, step_index: Int32Array.of(file.stepIndex) };
  if ((tables.classes ?? 1) > 1) found.class_index = Int32Array.of(classIndex);
  const detail = detailOf(file, tables);
  for (const [index, [channels, size]] of (tables.detail?.maps ?? []).entries()) {
    found[`detail_${size}`] = detail?.[index] ?? new Int32Array(channels * size * size);
  }
  return found;
}
