// Runs after `vite build`: writes the .gz variants that the server hands out, and fails when the result is over budget.
import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url).pathname;
const kB = 1000;
// gzip bytes: what a browser fetches.
const budget = { entry: 130 * kB, route: 120 * kB, all: 450 * kB, css: 25 * kB };

const manifest = JSON.parse(readFileSync(join(dist, ".vite/manifest.json"), "utf8"));
rmSync(join(dist, ".vite"), { recursive: true });
writeFileSync(join(dist, ".gitkeep"), ""); // the build empties the folder; a clone without a build embeds this file

const sizes = new Map();
for (const name of readdirSync(dist, { recursive: true })) {
  const path = join(dist, name);
  if (!statSync(path).isFile() || ![".js", ".css", ".html", ".svg"].includes(extname(name))) continue;
  const packed = gzipSync(readFileSync(path), { level: 9 });
  writeFileSync(`${path}.gz`, packed);
  sizes.set(name, packed.length);
}

/** The files that the chunk named key brings with it, itself included. */
function closure(key, seen = new Set()) {
  if (seen.has(key)) return seen;
  seen.add(key);
  for (const next of manifest[key].imports ?? []) closure(next, seen);
  return seen;
}
const sum = (keys) => [...keys].reduce((n, key) => n + (sizes.get(manifest[key].file) ?? 0), 0);
const show = (n) => `${(n / kB).toFixed(1)} kB`.padStart(9);

const entryKey = Object.keys(manifest).find((key) => manifest[key].isEntry);
const entry = closure(entryKey);
const over = [];
const check = (label, size, limit) => {
  console.log(`${show(size)} of ${show(limit)}  ${label}`);
  if (size > limit) over.push(`${label}: ${show(size).trim()} is over ${show(limit).trim()}`);
};

check("entry", sum(entry), budget.entry);
for (const key of Object.keys(manifest).filter((key) => manifest[key].isDynamicEntry).toSorted()) {
  const more = [...closure(key)].filter((one) => !entry.has(one));
  check(`more for ${manifest[key].name}`, sum(more), budget.route);
}
const total = (ext) => [...sizes].reduce((n, [name, size]) => n + (extname(name) === ext ? size : 0), 0);
check("all JavaScript", total(".js"), budget.all);
check("all CSS", total(".css"), budget.css);
if (over.length > 0) {
  console.error(`over budget:\n  ${over.join("\n  ")}`);
  process.exit(1);
}
