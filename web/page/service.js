/** Workers that answer messages: each message has an id, and its answer has the same. */
export class Service {
  /** @param {string} file of the worker, beside this module */
  constructor(file) {
    this.waiting = new Map();
    this.asked = 0;
    this.broken = "";
    this.worker = new Worker(new URL(file, import.meta.url), { type: "module" });
    this.worker.addEventListener("message", ({ data: { id, ...answer } }) => {
      this.waiting.get(id)?.(answer);
      this.waiting.delete(id);
    });
    this.worker.addEventListener("error", ({ message }) => {
      this.broken = `${file} cannot start${message ? `: ${message}` : ""}`;
      for (const settle of this.waiting.values()) settle({ error: this.broken });
      this.waiting.clear();
    });
  }

  /**
   * The answer to a message.
   *
   * @param {object} message
   * @param {Transferable[]} [transferred]
   * @returns {Promise<any>} rejected with the worker's reason
   */
  async ask(message, transferred = []) {
    if (this.broken) throw new Error(this.broken);
    const id = ++this.asked;
    const answer = await new Promise((resolve) => {
      this.waiting.set(id, resolve);
      this.worker.postMessage({ ...message, id }, transferred);
    });
    if (answer.error) throw new Error(answer.error);
    return answer;
  }
}

/**
 * The worker's side: answers one message after the other.
 *
 * @param {(message: any) => Promise<{answer: object, transferred?: Transferable[]}>} answered
 */
export function serve(answered) {
  let last = Promise.resolve();
  addEventListener("message", ({ data: { id, ...message } }) => {
    last = last.then(async () => {
      try {
        const { answer, transferred = [] } = await answered(message);
        postMessage({ ...answer, id }, transferred);
      } catch (error) {
        postMessage({ id, error: String(error?.message ?? error) });
      }
    });
  });
}
