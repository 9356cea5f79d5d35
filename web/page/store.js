/**
 * Files of the site that stay in the browser once they are fetched: networks and the runtime.
 * Where there is no cache (plain http from another machine), they are fetched each time.
 */
const STORE = "invcomp-files";

/**
 * The bytes of a file of this site.
 *
 * @param {string} address relative to this module
 * @param {string} sha256 of its contents, part of the name in the cache: a changed file is new
 * @returns {Promise<ArrayBuffer>}
 */
export async function stored(address, sha256) {
  const url = new URL(address, import.meta.url);
  url.searchParams.set("sha256", sha256.slice(0, 16));
  if (!("caches" in globalThis)) return (await fetched(url)).arrayBuffer();
  const cache = await caches.open(STORE);
  const kept = await cache.match(url.href);
  if (kept) return kept.arrayBuffer();
  const response = await fetched(url);
  await forgetOlder(cache, url);
  await cache.put(url.href, response.clone()).catch(() => {}); // a full disk: next time, then
  return response.arrayBuffer();
}

/** @param {URL} url */
async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname}: ${response.status} ${response.statusText}`);
  return response;
}

/** @param {Cache} cache @param {URL} url */
async function forgetOlder(cache, url) {
  for (const request of await cache.keys()) {
    if (new URL(request.url).pathname === url.pathname) await cache.delete(request);
  }
}
