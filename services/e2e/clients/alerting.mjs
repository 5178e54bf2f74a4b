// A night with Midwatch, in Chromium: a blip that wakes nobody and stands in the digest; an
// application that starts to answer 500s after a deploy, whose page says so; a job that does not
// come; a disk that fills. Times are shorter than anybody would set them: slots of 10 s, a hold of a
// minute.
//
//   MIDWATCH_URL MIDWATCH_EMAIL MIDWATCH_PASSWORD MIDWATCH_TOKEN MIDWATCH_KEY CHROMIUM PICTURES node alerting.mjs
import assert from "node:assert/strict";
import { start } from "./chromium.mjs";

const { MIDWATCH_URL: base, MIDWATCH_EMAIL: email, MIDWATCH_PASSWORD: password, MIDWATCH_TOKEN: token, MIDWATCH_KEY: key } = process.env;
const api = `${base}/api/v1/midwatch`;

/** Sends JSON, and fails with what the answer says. */
async function send(method, url, body, secret = token) {
  const answer = await fetch(url, {
    method,
    headers: { "content-type": "application/json", authorization: `Bearer ${secret}` },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${url}: ${answer.status} ${text}`);
  return text.startsWith("{") ? JSON.parse(text) : text;
}

/** Waits until f says something true; the patience is for slow machines, not for what is tested. */
async function until(what, f, patience = 300_000) {
  for (const end = Date.now() + patience; Date.now() < end; await new Promise((again) => setTimeout(again, 500))) {
    const answer = await f();
    if (answer) return answer;
  }
  assert.fail(`waited in vain for: ${what}`);
}

// The application: ten requests a second, some of which may go wrong.
const began = BigInt(Date.now()) * 1_000_000n;
let good = 0;
let bad = 0;
let share = 0; // of the requests that fail
async function requests() {
  for (let n = 0; n < 20; n++) Math.random() < share ? bad++ : good++;
  const point = (status, count) => ({
    attributes: [{ key: "http.response.status_code", value: { intValue: status } }],
    startTimeUnixNano: String(began), timeUnixNano: String(BigInt(Date.now()) * 1_000_000n),
    count: String(count), sum: count * 0.05, bucketCounts: [String(count), "0"], explicitBounds: [0.1],
  });
  await send("POST", `${base}/v1/metrics`, { resourceMetrics: [{
    resource: { attributes: [{ key: "service.name", value: { stringValue: "checkout" } }] },
    scopeMetrics: [{ metrics: [{ name: "http.server.request.duration", unit: "s",
      histogram: { aggregationTemporality: 2, dataPoints: [point(200, good), point(500, bad)] } }] }],
  }] }, key);
  if (share < 0.5) return;
  await send("POST", `${base}/v1/ingest/logs`, { level: "error", service: "checkout", message: `payment provider refused card ${bad}: no route to 10.1.2.${bad % 200}` }, key);
  const trace = { values: [{ type: "NoRouteError", value: "no route to the payment provider", stacktrace: { frames: [{ filename: "pay.py", function: "charge", lineno: 12, in_app: true }] } }] };
  const answer = await fetch(`${base}/api/1/store/?sentry_key=${key}&sentry_version=7`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ event_id: crypto.randomUUID().replaceAll("-", ""), platform: "python", release: "checkout@1.42.0", environment: "production", level: "error", exception: trace, user: { id: `u${bad % 17}` } }),
  });
  assert.ok(answer.ok, `the error was answered ${answer.status}`);
}
let failed;
const feeding = setInterval(() => void requests().catch((error) => { failed ??= error; }), 2_000);

await send("PUT", `${api}/projects/1/rules/checkout-errors`, {
  id: "checkout-errors", name: "Checkout errors", kind: "error_rate", service: "checkout", query: { source: "metrics" },
  window: "20s", interval: "10s", levels: [{ fire: ">= 0.1", recover: "< 0.05", severity: "page", for: "1m" }], recover_for: "20s",
  summary: "Customers cannot pay", first_action: "Roll checkout back to the release before", state: "live",
});

// The disk has been filling for three days, by 0.6 GB an hour.
const GB = 1e9;
const hours = 72;
for (let day = 0; day < 3; day++) {
  const dataPoints = [];
  for (let m = day * 24 * 60; m <= (day + 1) * 24 * 60; m += 5) {
    const ago = hours * 60 - m;
    dataPoints.push({ attributes: [{ key: "device", value: { stringValue: "/dev/sda1" } }], timeUnixNano: String(BigInt(Date.now() - ago * 60_000) * 1_000_000n), asDouble: 95 * GB - (ago / 60) * 0.6 * GB });
  }
  await send("POST", `${base}/v1/metrics`, { resourceMetrics: [{ resource: { attributes: [{ key: "service.name", value: { stringValue: "database" } }] }, scopeMetrics: [{ metrics: [{ name: "disk.used", unit: "By", gauge: { dataPoints } }] }] }] }, key);
}
const past = (ms) => new Date(Date.now() - ms).toISOString();
await until("the disk's history to be stored", async () => {
  const answer = await fetch(`${api}/projects/1/metrics/disk_used_bytes/range?from=${past(71 * 3_600_000)}&to=${past(0)}`, { headers: { authorization: `Bearer ${token}` } });
  const points = answer.ok ? ((await answer.json()).series[0]?.points ?? []) : [];
  return points.length > 60 && points.at(-1).value > 94 * GB;
});
await send("PUT", `${api}/projects/1/rules/disk-full`, {
  id: "disk-full", name: "Disk of the database", kind: "forecast", service: "database", query: { source: "metrics", metric: "disk.used", aggregate: "last", by: ["device"] },
  interval: "30s", forecast: { capacity: 100 * GB }, levels: [{ severity: "ticket", for: "30s" }],
  first_action: "Delete old backups or grow the volume", state: "live",
});

let signedIn = false;
const { context, page, heading, look, problems } = await start(120_000, () => !signedIn);

await page.goto(base);
await page.getByLabel("E-mail").fill(email);
await page.getByLabel("Password").fill(password);
await page.getByRole("button", { name: "Sign in" }).click();
await page.waitForURL("**/p/1/**");
signedIn = true;
await page.goto(`${base}/p/1/rules`);
await page.getByText("when checkout errors are 10 % or more").first().waitFor();
await look("rules");

// The blip: a quarter of a minute of errors. Nobody is told; it is a line of the digest.
const transitions = async () => (await send("GET", `${api}/projects/1/rules/checkout-errors/history?from=${new Date(Number(began / 1_000_000n)).toISOString()}&to=${new Date(Date.now() + 60_000).toISOString()}`)).transitions;
await until("requests of half a minute", () => good > 300);
share = 0.6;
await until("the blip to be seen", async () => (await transitions()).some((t) => t.kind === "pending"));
share = 0;
await until("the blip to heal", async () => (await transitions()).some((t) => t.kind === "transient"));
await page.goto(`${base}/p/1/digest`);
await page.getByText(/checkout: .*% errors/).first().waitFor();
await look("digest");
assert.ok(!(await transitions()).some((t) => t.kind === "fire"), "a blip has fired");

// The outage, right after a deploy.
await send("POST", `${api}/deploys`, { service: "checkout", environment: "production", release: "1.42.0", person: "ann", at: new Date(Date.now() - 11 * 60_000).toISOString() }, key);
share = 0.6;
await page.goto(`${base}/p/1/incidents`);
const row = page.getByRole("link", { name: /checkout.* errors/ }).first();
await row.waitFor({ timeout: 300_000 });
await look("incidents");
await row.click();
await page.waitForURL("**/incidents/*");
await page.getByText("Roll checkout back to the release before").first().waitFor();
// The dossier: the deploy and the new error, as they were when people were told.
await page.getByText(/1\.42\.0/).first().waitFor();
await page.getByText(/NoRouteError/).first().waitFor();
await look("incident");
await page.keyboard.press("a");
await page.getByText(/Acknowledged/).first().waitFor();
await look("incident-acknowledged");
share = 0;
await page.getByText(/Resolved: recovered/).first().waitFor({ timeout: 300_000 });
await look("incident-resolved");
await page.goto(`${base}/p/1/deliveries`);
await page.getByText("opened", { exact: true }).first().waitFor();
await look("deliveries");

// The disk.
await page.goto(`${base}/p/1/incidents`);
await page.getByRole("link", { name: /disk.used full in \d+(\.\d+)? h/ }).first().waitFor({ timeout: 300_000 });

// The job: late, then missed, then well again.
await send("POST", `${api}/projects/1/monitors`, { slug: "billing-export", name: "Billing export", schedule: { kind: "interval", value: "20", margin_seconds: 25 } });
const ping = () => fetch(`${base}/ping/${key}/billing-export`, { method: "POST", body: "exported 12 invoices" });
assert.ok((await ping()).ok);
const status = async () => (await send("GET", `${api}/projects/1/monitors?from=${new Date(Date.now() - 3_600_000).toISOString()}&to=${new Date().toISOString()}`)).monitors.find((m) => m.slug === "billing-export")?.status;
await until("the job to be late", async () => (await status()) === "late");
await page.goto(`${base}/p/1/monitors`);
await page.getByText(/late/i).first().waitFor();
await until("the job to be missed", async () => (await status()) === "missed");
await page.reload();
await page.getByText(/missed/i).first().waitFor();
await look("monitors-missed");
await page.goto(`${base}/p/1/incidents`);
await page.getByText(/Billing export: missed/).first().waitFor();
assert.ok((await ping()).ok);
await until("the job to be well", async () => (await status()) === "ok");
await page.goto(`${base}/p/1/digest`);
await page.getByText(/Billing export/).first().waitFor();

// What the rule would have done, on its page.
await page.goto(`${base}/p/1/rules/checkout-errors`);
await heading().first().waitFor();
await page.getByText(/at night/).first().waitFor();
await look("rule");
// The digest's wish: the change stands there, with what it would have done, and nothing is saved.
await page.goto(`${base}/p/1/digest`);
await page.getByRole("listitem").filter({ hasText: /checkout: .*% errors/ }).getByRole("link", { name: "Page sooner" }).first().click();
const wish = page.getByRole("status", { name: "What the mail proposes" });
await wish.getByText("Tells after 30 seconds instead of 1 minute").waitFor();
await page.getByText("not saved").waitFor();
await page.getByText(/at night/).first().waitFor();
await look("rule-sooner");
await wish.getByRole("button", { name: "Leave it as it was" }).click();
await wish.waitFor({ state: "detached" });
assert.equal(new URL(page.url()).hash, "");
assert.equal((await send("GET", `${api}/projects/1/rules/checkout-errors`)).rule.levels[0].for, "1m");
for (const name of ["oncall", "silences", "receivers", "routes", "rules/new", "probes"]) {
  await page.goto(`${base}/p/1/${name}`);
  await heading().first().waitFor();
  await look(name.replace("/", "-"));
}

clearInterval(feeding);
assert.equal(failed, undefined);
await context.close();
assert.deepEqual(problems, []);
