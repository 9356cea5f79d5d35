/** What QR codes of files hold: the bytes of the file, or base45 (RFC 9285) of them. */
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
const MAGIC = [0xc9, 0x56];

/**
 * The .ivc file in the contents of a QR code.
 *
 * @param {Uint8Array} contents bytes, as a reader of codes returns them
 * @returns {Uint8Array | null} null if they hold no .ivc file
 */
export function fileInCode(contents) {
  for (const data of [contents, fromBase45(String.fromCharCode(...contents))]) {
    if (data && MAGIC.every((byte, at) => data[at] === byte)) return data;
  }
  return null;
}

/**
 * Bytes of base45: three characters for each two bytes, two for a last one.
 *
 * @param {string} text
 * @returns {Uint8Array | null} null if it is no base45
 */
export function fromBase45(text) {
  if (text.length % 3 === 1) return null;
  const data = new Uint8Array(Math.floor((2 * text.length) / 3));
  for (let at = 0, end = 0; at < text.length; at += 3) {
    const digits = [...text.slice(at, at + 3)].map((letter) => ALPHABET.indexOf(letter));
    if (digits.includes(-1)) return null;
    const value = digits.reduceRight((sum, digit) => 45 * sum + digit, 0);
    if (value >= 256 ** (digits.length - 1)) return null;
    if (digits.length > 2) data[end++] = value >> 8;
    data[end++] = value & 0xff;
  }
  return data;
}
