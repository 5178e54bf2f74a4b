/**
 * The query string of the address, as an API for people: plain names and values, a repeated name for a list. Unlike
 * the router's own form nothing is JSON, so that links can be written by hand and read in a chat.
 */
export type Search = Record<string, unknown>;

export function parseSearch(text: string): Search {
  const out: Record<string, string | string[]> = {};
  for (const [key, value] of new URLSearchParams(text)) {
    const had = out[key];
    out[key] = had === undefined ? value : [...(Array.isArray(had) ? had : [had]), value];
  }
  return out;
}

export function stringifySearch(search: Search): string {
  const parts: string[] = [];
  const add = (key: string, value: unknown) => {
    if (value === undefined || value === null || value === "") return;
    parts.push(`${encode(key)}=${encode(String(value))}`);
  };
  for (const [key, value] of Object.entries(search)) {
    if (Array.isArray(value)) for (const one of value) add(key, one);
    else add(key, value);
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

/** Only what a query must not hold is escaped: times and paths stay readable. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/%(3A|2F|2C|40|7B|7D)/g, decodeURIComponent).replace(/%20/g, "+");
}

/** The value as one text, or undefined. */
export function text(value: unknown, maxLength = 1000): string | undefined {
  const one = Array.isArray(value) ? value[0] : value;
  return typeof one === "string" && one !== "" && one.length <= maxLength ? one : undefined;
}

/** The value as a list without repeats; undefined rather than empty. */
export function list(value: unknown, max = 50): string[] | undefined {
  const all = (Array.isArray(value) ? value : [value]).filter((one): one is string => typeof one === "string" && one !== "");
  return all.length === 0 ? undefined : [...new Set(all)].slice(0, max);
}

/** The value if it is one of those allowed. */
export function oneOf<T extends string>(value: unknown, allowed: readonly T[]): T | undefined {
  return allowed.find((one) => one === text(value));
}
