// Chromium for a journey, with a profile of its own, and what is looked at on the pages.
//
//   CHROMIUM is its program, PICTURES the folder for what it has seen
import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { CHROMIUM: executablePath, PICTURES: pictures } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Starts it. Patience (ms) is for slow machines; expected says which errors of the console are none. */
export async function start(patience, expected) {
  const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "midwatch-browser-")), {
    executablePath,
    headless: true,
    viewport: { width: 1440, height: 900 },
    bypassCSP: true, // axe is injected into the page
    reducedMotion: "reduce",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  context.setDefaultTimeout(patience);
  const page = context.pages()[0];

  const problems = [];
  page.on("pageerror", (error) => problems.push(`error on the page: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !expected(message.text())) problems.push(`console: ${message.text()} (${message.location().url})`);
  });

  /** Checks what stands on the page in both themes and at two widths, and keeps it as pictures. */
  async function look(name) {
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
      for (const v of violations.filter((one) => one.impact === "serious" || one.impact === "critical")) {
        problems.push(`${name}, ${colorScheme}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
      }
      for (const width of [1440, 390]) {
        await page.setViewportSize({ width, height: width === 1440 ? 900 : 844 });
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) problems.push(`${name}: ${wide} px wider than ${width}`);
        await page.screenshot({ path: join(pictures, `${name}-${colorScheme}-${width}.png`) });
      }
      await page.setViewportSize({ width: 1440, height: 900 });
    }
  }

  return { context, page, heading: () => page.getByRole("heading", { level: 1 }), look, problems };
}
