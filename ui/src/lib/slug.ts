/** A short name made from a name: small letters, without accents, with hyphens for everything in unwanted. */
export function slugFrom(name: string, unwanted: RegExp): string {
  return name
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .toLowerCase()
    .replace(unwanted, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 50);
}
