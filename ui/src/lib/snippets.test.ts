import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { badgeSnippets, checkinSnippets, movedSnippets, snippets, storeURL } from "./snippets";

const setup = {
  ingest_key: "0123456789abcdef0123456789abcdef",
  http_url: "http://127.0.0.1:8080",
  otlp_http_url: "http://127.0.0.1:4318",
  otlp_grpc_url: "http://127.0.0.1:4317",
  dsn: "http://0123456789abcdef0123456789abcdef@127.0.0.1:8080/7",
  ping_url: "http://127.0.0.1:8080/ping/0123456789abcdef0123456789abcdef",
};

/** Runs a snippet in bash with curl replaced by what prints its arguments, one a line that ends in NUL. */
function run(text: string): string[] {
  const out = execFileSync("bash", ["-euc", `curl() { printf '%s\\0' "$@"; }\n${text}`], { encoding: "utf8" });
  return out.split("\0").slice(0, -1);
}

const all = Object.values(snippets(setup)).flat();

test("ids are unique and name their signal", () => {
  expect(new Set(all.map((one) => one.id)).size).toBe(all.length);
  for (const [signal, list] of Object.entries(snippets(setup))) for (const one of list) expect(one.id.startsWith(`${signal}-`)).toBe(true);
});

describe("what is run in bash", () => {
  const body = (id: string) => {
    const args = run(all.find((one) => one.id === id)!.text);
    return { args, json: JSON.parse(args[args.indexOf("-d") + 1]!) };
  };
  test("logs", () => {
    const { args, json } = body("logs-curl");
    expect(args).toContain("http://127.0.0.1:8080/v1/ingest/logs");
    expect(args).toContain(`Authorization: Bearer ${setup.ingest_key}`);
    expect(json.message).toMatch(/^hello from curl at \d\d:\d\d:\d\d$/);
  });
  test("metrics", () => {
    const { args, json } = body("metrics-curl");
    expect(args).toContain("http://127.0.0.1:4318/v1/metrics");
    const [point] = json.resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints;
    expect(point.timeUnixNano).toMatch(/^\d{19}$/);
  });
  test("errors", () => {
    const { args, json } = body("errors-curl");
    expect(args).toContain("http://127.0.0.1:8080/api/7/store/");
    expect(json.exception.values[0].stacktrace.frames.at(-1).context_line).toContain("raise CardDeclined");
    expect(Math.abs(json.timestamp - Date.now() / 1000)).toBeLessThan(60);
  });
  test("check-ins", () => {
    expect(run(all.find((one) => one.id === "checkins-curl")!.text)).toContain(`${setup.ping_url}/nightly-backup?create=1`);
  });
  test("every export is valid", () => {
    for (const one of all.filter((snippet) => /^(export|curl|SENTRY|telemetrygen)/.test(snippet.text))) {
      execFileSync("bash", ["-n", "-c", one.text]);
    }
  });
});

test("Prometheus writes to the project with its key", () => {
  const { text } = snippets(setup).metrics.find((one) => one.id === "metrics-prometheus")!;
  expect(text).toContain("url: http://127.0.0.1:8080/api/v1/write\n");
  expect(text).toContain(`credentials: ${setup.ingest_key}`);
});

test("a monitor that exists is not made again", () => {
  for (const one of checkinSnippets(setup, "billing-export")) expect(one.text).not.toContain("create");
});

test("the URLs of other services are those of the monitor", () => {
  const uuid = "6c1f0e7a-2f3b-4c5d-8e9f-a0b1c2d3e4f5";
  const moved = movedSnippets(setup, "billing-export", uuid);
  expect(moved.map((one) => run(`true; ${one.text}`).filter((word) => /^(http|s=)/.test(word)))).toEqual([
    ["run", "complete"].map((state) => `http://127.0.0.1:8080/cronitor/p/${setup.ingest_key}/billing-export?state=${state}`),
    ["s=0", `http://127.0.0.1:8080/snitch/${uuid}`],
    [`http://127.0.0.1:8080/api/v1/heartbeat/${uuid}/0`],
  ]);
});

test("a path before the project's number stays", () => {
  expect(storeURL("https://key@host.example/sentry/12")).toBe("https://host.example/sentry/api/12/store/");
});

test("a quote in an address cannot end the word", () => {
  const odd = { ...setup, http_url: "http://host/it's" };
  expect(run(snippets(odd).logs[0]!.text)).toContain("http://host/it's/v1/ingest/logs");
});

test("midwatch cron gets the address and the key", () => {
  const text = checkinSnippets(setup, "backup").find((one) => one.id === "checkins-midwatch")!.text;
  const out = execFileSync("bash", ["-euc", `midwatch() { printf '%s|' "$MIDWATCH_URL" "$MIDWATCH_INGEST_KEY" "$@"; }\n${text}`], { encoding: "utf8" });
  expect(out).toBe(`${setup.http_url}|${setup.ingest_key}|cron|backup|--|sleep|1|`);
});

test("badges of one monitor and of all", () => {
  const url = "http://127.0.0.1:8080/badge/00ff.svg";
  const [markdown, , one, shields] = badgeSnippets(url, "backup").map(({ text }) => text);
  expect(markdown).toBe("![backup](http://127.0.0.1:8080/badge/00ff/backup.svg)");
  expect(one).toBe("http://127.0.0.1:8080/badge/00ff/backup.svg");
  expect(shields).toBe("https://img.shields.io/endpoint?url=http%3A%2F%2F127.0.0.1%3A8080%2Fbadge%2F00ff%2Fbackup.json");
  expect(badgeSnippets(url)[2]!.text).toBe(url);
});
