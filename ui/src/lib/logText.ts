/** The words and phrases that a query asks for (not those it excludes), to be marked in what it found. */
export function wanted(query: string): string[] {
  const out: string[] = [];
  for (const [, minus, phrase, word] of query.matchAll(/(-?)(?:"([^"]*)"?|([^\s"]+))/g)) {
    const text = phrase ?? word ?? "";
    if (!minus && text !== "") out.push(text);
  }
  return out;
}

/** The text cut where a wanted part begins and ends; every second piece is one. */
export function cut(text: string, parts: readonly string[]): string[] {
  if (parts.length === 0) return [text];
  const escaped = parts.toSorted((a, b) => b.length - a.length).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return text.split(new RegExp(`(${escaped.join("|")})`, "gi"));
}

/** Adds a phrase to a query, asked for or excluded. */
export function withPhrase(query: string, phrase: string, exclude = false): string {
  const clean = phrase.replaceAll('"', " ").replace(/\s+/g, " ").trim();
  if (clean === "") return query;
  const term = `${exclude ? "-" : ""}${/\s|^-/.test(clean) ? `"${clean}"` : clean}`;
  return `${query} ${term}`.trim();
}

/** The values to keep when one is left out: all others that are known. */
export function without<T>(kept: readonly T[] | undefined, known: readonly T[], value: T): T[] {
  return (kept?.length ? kept : known).filter((one) => one !== value);
}

/** The values to keep when one is switched on or off. */
export function toggled<T>(kept: readonly T[] | undefined, value: T): T[] | undefined {
  const next = kept?.includes(value) ? kept.filter((one) => one !== value) : [...(kept ?? []), value];
  return next.length === 0 ? undefined : next;
}
