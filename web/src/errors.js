/** A file cannot be read: not an .ivc file, truncated, altered. The message is one clear line. */
export class BitstreamError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "BitstreamError";
  }
}

/** A newer program may be able to read the file. */
export class VersionError extends BitstreamError {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "VersionError";
  }
}

/** What comes next depends on bytes that are missing. Never leaves this package. */
export class Unsettled extends Error {}
