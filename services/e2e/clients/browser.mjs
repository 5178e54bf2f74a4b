// A person's first quarter of an hour, in Chromium: sign in, find each page empty, paste what it
// says into a shell, see the data arrive, and go on with the keyboard. Every page is checked for
// accessibility in both themes and kept as a picture at two widths.
//
//   MIDWATCH_URL MIDWATCH_EMAIL MIDWATCH_PASSWORD CHROMIUM PICTURES node browser.mjs
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { start } from "./chromium.mjs";

const { MIDWATCH_URL: base, MIDWATCH_EMAIL: email, MIDWATCH_PASSWORD: password } = process.env;

let expected = [];
const { context, page, heading, look, problems } = await start(60_000, (text) => expected.some((one) => text.includes(one)));

/** Runs what the page shows, exactly as it shows it. */
async function paste(snippet) {
  const text = await page.locator(`[data-snippet="${snippet}"]`).first().textContent();
  const answer = execFileSync("bash", ["-euo", "pipefail", "-c", text], { encoding: "utf8", timeout: 30_000 });
  console.log(`${snippet}: ${answer.trim()}`);
}

// Sign in. The first look at the session is answered with 401, and so is a wrong password.
expected = ["401"];
await page.goto(base);
await page.getByRole("heading", { name: "Sign in to Midwatch" }).waitFor();
await page.getByLabel("E-mail").fill(email);
await page.getByLabel("Password").fill("a wrong one");
await page.keyboard.press("Enter");
await page.getByText("do not go together").first().waitFor();
await look("sign-in");
await page.getByLabel("Password").fill(password);
await page.getByRole("button", { name: "Sign in" }).click();
await page.getByText("Nothing has arrived yet").waitFor();
expected = [];
await look("overview-empty");

// Each signal: an empty page, its line in a shell, and the data, without a reload.
const signals = [
  { key: "l", name: "logs", snippet: "logs-curl", shows: "hello from curl" },
  { key: "m", name: "metrics", snippet: "metrics-curl", shows: "queue_depth" },
  { key: "e", name: "errors", snippet: "errors-curl", shows: "CardDeclined" },
  { key: "c", name: "monitors", snippet: "checkins-curl", shows: "nightly-backup" },
];
for (const { key, name, snippet, shows } of signals) {
  await page.keyboard.press("g");
  await page.keyboard.press(key);
  await page.waitForURL(`**/p/1/${name}**`);
  await page.getByText("Waiting for the first event").waitFor();
  await look(`${name}-empty`);
  await paste(snippet);
  await page.getByText("Waiting for the first event").waitFor({ state: "detached" });
  await page.getByText(shows).first().waitFor();
  await look(name);
}

// A log line opens beside the list, and closes.
await page.keyboard.press("g");
await page.keyboard.press("l");
await page.getByText("hello from curl").first().waitFor();
await page.keyboard.press("j");
await page.keyboard.press("Enter");
await page.getByRole("complementary", { name: "Log line" }).or(page.getByLabel("Log line", { exact: true })).first().waitFor();
await page.getByText("1042").first().waitFor();
await look("log-line");
await page.keyboard.press("Escape");

// A search that finds nothing, and one that does, live in the address.
await page.keyboard.press("/");
await page.keyboard.type("nowhere-to-be-found");
await page.keyboard.press("Enter");
await page.waitForURL("**q=nowhere**");
await page.getByText("hello from curl").first().waitFor({ state: "detached" });
await page.goBack();
await page.getByText("hello from curl").first().waitFor();
await page.keyboard.press("Escape"); // leaves the search field: single keys are text in it

// An issue shows its stack with the failing line.
await page.keyboard.press("g");
await page.keyboard.press("e");
await page.getByRole("link", { name: /CardDeclined/ }).first().click();
await page.getByText("raise CardDeclined(answer.reason)").waitFor();
await look("issue");

// A monitor shows its runs.
await page.keyboard.press("g");
await page.keyboard.press("c");
await page.getByRole("link", { name: /nightly-backup/ }).first().click();
await page.waitForURL("**/monitors/nightly-backup**");
await page.getByRole("region", { name: "Ping URL", exact: true }).waitFor();
await look("monitor");

// The overview speaks of all four.
await page.keyboard.press("g");
await page.keyboard.press("o");
await page.getByText("CardDeclined").first().waitFor();
await look("overview");

// What was removed early stands above it, is put away one by one, and leads to the settings, where a shorter retention has
// to be confirmed.
const notices = page.getByRole("status", { name: "Notices" });
await notices.getByText("And 2 more notices in the last 7 days").waitFor();
await notices.getByRole("button", { name: "Dismiss: Logs of 11 Oct were removed early" }).click();
await notices.getByText("And 1 more notice in the last 7 days").waitFor();
await page.getByRole("link", { name: "keep less" }).click();
await page.getByRole("heading", { name: "Logs and metrics are kept for 30", exact: false }).waitFor();
await look("settings");
await page.getByLabel("Logs", { exact: true }).selectOption("7");
await page.getByLabel("Errors", { exact: true }).selectOption("365");
await page.getByText("Deletes logs older than 7").waitFor();
await page.getByRole("button", { name: "Save retention" }).click();
await page.getByRole("dialog").getByText("It cannot be undone").waitFor();
await look("settings-confirm");
await page.getByRole("button", { name: "Save and delete" }).click();
await page.getByRole("heading", { name: "Logs are kept for 7", exact: false }).waitFor();
await page.reload();
await page.getByRole("heading", { name: "errors for 1 year", exact: false }).waitFor();

// Help, palette, theme and range are reached by keys.
await page.keyboard.press("?");
await page.getByRole("dialog").waitFor();
await look("keys");
await page.keyboard.press("Escape");
await page.keyboard.press("Control+k");
await page.getByRole("dialog").waitFor();
await look("palette");
await page.keyboard.type("metrics");
await page.keyboard.press("Enter");
await page.waitForURL("**/metrics**");
await page.keyboard.press("t");
await page.getByRole("dialog").or(page.getByRole("textbox")).first().waitFor();
await look("range");
await page.keyboard.press("Escape");

assert.notEqual(await heading().first().textContent(), "");
await context.close();
assert.deepEqual(problems, []);
