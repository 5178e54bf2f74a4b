import type { Setup, Signal } from "./api";

export interface Snippet {
  /** Stable: tests and links name a snippet by it. */
  id: string;
  /** The tab. */
  label: string;
  /** What to do with it, in one sentence. */
  hint: string;
  text: string;
}

/**
 * What to paste to send the first datum of each signal, with the project's own key and addresses. Everything whose
 * label is a command runs as it stands in bash; the clock is read by the shell, so that each run sends something new.
 */
export function snippets(setup: Setup): Record<Signal, Snippet[]> {
  const key = setup.ingest_key;
  const store = storeURL(setup.dsn);
  const otlp = new URL(setup.otlp_http_url);
  return {
    logs: [
      {
        id: "logs-curl",
        label: "curl",
        hint: "JSON, as an object, an array, or one object a line. Every field is kept.",
        text: `curl -sS ${quote(`${setup.http_url}/v1/ingest/logs`)} \\
  -H 'Authorization: Bearer ${key}' \\
  -H 'Content-Type: application/json' \\
  -d '{"level":"info","service":"checkout","message":"hello from curl at '"$(date +%T)"'","order":"1042"}'`,
      },
      {
        id: "logs-otel",
        label: "OpenTelemetry",
        hint: "For every SDK and the Collector. Set it where your service starts.",
        text: otelEnvironment(setup),
      },
    ],
    metrics: [
      {
        id: "metrics-otel",
        label: "OpenTelemetry",
        hint: "For every SDK and the Collector. Set it where your service starts.",
        text: otelEnvironment(setup),
      },
      {
        id: "metrics-prometheus",
        label: "Prometheus",
        hint: "Remote write, 1.0 or 2.0, from prometheus.yml.",
        text: `remote_write:
  - url: ${setup.http_url}/api/v1/write
    authorization:
      credentials: ${key}`,
      },
      {
        id: "metrics-curl",
        label: "curl",
        hint: "One measurement over OTLP/HTTP, to see that it works.",
        text: `curl -sS ${quote(`${setup.otlp_http_url}/v1/metrics`)} \\
  -H 'Authorization: Bearer ${key}' \\
  -H 'Content-Type: application/json' \\
  -d '{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]},
    "scopeMetrics":[{"metrics":[{"name":"queue.depth","unit":"{job}","description":"Jobs that wait",
      "gauge":{"dataPoints":[{"timeUnixNano":"'$(date +%s)000000000'","asDouble":7,
        "attributes":[{"key":"queue","value":{"stringValue":"mail"}}]}]}}]}]}]}'`,
      },
      {
        id: "metrics-telemetrygen",
        label: "telemetrygen",
        hint: "OpenTelemetry's own generator, for some test data.",
        text: `telemetrygen metrics --otlp-http${otlp.protocol === "http:" ? " --otlp-insecure" : ""} --otlp-endpoint ${otlp.host} \\
  --otlp-header 'authorization="Bearer ${key}"' --metrics 10`,
      },
    ],
    errors: [
      {
        id: "errors-dsn",
        label: "DSN",
        hint: "For any Sentry SDK: it reads this variable by itself in most languages.",
        text: `export SENTRY_DSN=${quote(setup.dsn)}`,
      },
      {
        id: "errors-curl",
        label: "curl",
        hint: "One error, to see that it works.",
        text: `curl -sS ${quote(store)} \\
  -H 'X-Sentry-Auth: Sentry sentry_version=7, sentry_client=curl/1.0, sentry_key=${key}' \\
  -H 'Content-Type: application/json' \\
  -d '{"timestamp":'$(date +%s)',"platform":"python","level":"error","release":"shop@1.0.0","environment":"production",
    "user":{"id":"1042"},"tags":{"region":"eu"},
    "exception":{"values":[{"type":"CardDeclined","value":"the bank says no","stacktrace":{"frames":[
      {"function":"handle","module":"shop.web","filename":"shop/web.py","lineno":31,"in_app":true,
        "context_line":"    return checkout(request.cart)"},
      {"function":"checkout","module":"shop.pay","filename":"shop/pay.py","lineno":88,"in_app":true,
        "pre_context":["def checkout(cart):","    answer = bank.charge(cart.total)","    if not answer.ok:"],
        "context_line":"        raise CardDeclined(answer.reason)","post_context":["    return answer"]}]}}]}}'`,
      },
      {
        id: "errors-node",
        label: "Node.js",
        hint: "npm install @sentry/node; first thing in your program:",
        text: `import * as Sentry from "@sentry/node";

Sentry.init({ dsn: "${setup.dsn}" });
Sentry.captureException(new Error("hello from node"));`,
      },
      {
        id: "errors-go",
        label: "Go",
        hint: "go get github.com/getsentry/sentry-go; first thing in main:",
        text: `err := sentry.Init(sentry.ClientOptions{Dsn: "${setup.dsn}"})
if err != nil {
	log.Fatal(err)
}
defer sentry.Flush(2 * time.Second)
sentry.CaptureException(errors.New("hello from go"))`,
      },
      {
        id: "errors-python",
        label: "Python",
        hint: "pip install sentry-sdk; first thing in your program:",
        text: `import sentry_sdk

sentry_sdk.init(dsn="${setup.dsn}")
sentry_sdk.capture_message("hello from python")`,
      },
      {
        id: "errors-sentry-cli",
        label: "sentry-cli",
        hint: "One event from a shell or a script.",
        text: `SENTRY_DSN=${quote(setup.dsn)} sentry-cli send-event -m 'hello from sentry-cli'`,
      },
    ],
    checkins: checkinSnippets(setup, "nightly-backup", true),
  };
}

/** The address of a monitor that needs no key, under which its own is all that it can reach. */
export function uuidURL(setup: Setup, uuid: string): string {
  return `${setup.http_url}/ping/${uuid}`;
}

/** What other services' URLs of this monitor become; the rest of the command, or of the client's settings, stays. */
export function movedSnippets(setup: Setup, slug: string, uuid: string): Snippet[] {
  const cronitor = `${setup.http_url}/cronitor/p/${setup.ingest_key}/${slug}`;
  return [
    {
      id: "moved-cronitor",
      label: "Cronitor",
      hint: "In place of https://cronitor.link/p/….",
      text: `curl -fsS -m 10 ${quote(`${cronitor}?state=run`)}
curl -fsS -m 10 --retry 3 ${quote(`${cronitor}?state=complete`)}`,
    },
    {
      id: "moved-snitch",
      label: "Dead Man's Snitch",
      hint: "In place of https://nosnch.in/….",
      text: `curl -fsS -m 10 --retry 3 -d "s=$?" ${quote(`${setup.http_url}/snitch/${uuid}`)}`,
    },
    {
      id: "moved-heartbeat",
      label: "Better Stack",
      hint: "In place of https://uptime.betterstack.com/api/v1/heartbeat/….",
      text: `curl -fsS -m 10 --retry 3 "${setup.http_url}/api/v1/heartbeat/${uuid}/$?"`,
    },
  ];
}

/** Ways to show a badge; of one monitor, or without a slug of all. */
export function badgeSnippets(badgeURL: string, slug?: string): Snippet[] {
  const svg = slug === undefined ? badgeURL : badgeURL.replace(/\.svg$/, `/${slug}.svg`);
  const name = slug ?? "jobs";
  return [
    { id: "badge-markdown", label: "Markdown", hint: "For a README.", text: `![${name}](${svg})` },
    { id: "badge-html", label: "HTML", hint: "For a page.", text: `<img src="${svg}" alt="${name}" height="20">` },
    { id: "badge-url", label: "URL", hint: "The image itself, without signing in.", text: svg },
    {
      id: "badge-shields",
      label: "shields.io",
      hint: "An endpoint, for another style.",
      text: `https://img.shields.io/endpoint?url=${encodeURIComponent(svg.replace(/\.svg$/, ".json"))}`,
    },
  ];
}

/** How a job checks in; create makes the monitor with its first ping. */
export function checkinSnippets(setup: Setup, slug: string, create = false): Snippet[] {
  const url = `${setup.ping_url}/${slug}`;
  const query = create ? "?create=1" : "";
  return [
    {
      id: "checkins-curl",
      label: "curl",
      hint: create ? "One ping; the monitor is made by it." : "One ping.",
      text: `curl -fsS -m 10 --retry 3 ${quote(url + query)}`,
    },
    {
      id: "checkins-cron",
      label: "cron",
      hint: "A line for crontab -e, with your job for sleep 1: the exit code tells whether it did its work.",
      text: `30 2 * * * sleep 1; curl -fsS -m 10 --retry 3 "${url}/$?${query}"`,
    },
    {
      id: "checkins-timed",
      label: "cron, timed",
      hint: "A second ping before the job gives its duration, and notices one that hangs.",
      text: `30 2 * * * curl -fsS -m 10 "${url}/start${query}"; sleep 1; curl -fsS -m 10 --retry 3 "${url}/$?${query}"`,
    },
    {
      id: "checkins-midwatch",
      label: "midwatch cron",
      hint: "Runs your command (here sleep 1) and tells its start, end, duration and output.",
      text: `MIDWATCH_URL=${quote(setup.http_url)} MIDWATCH_INGEST_KEY=${quote(setup.ingest_key)} \\
  midwatch cron ${slug}${create ? " --schedule '30 2 * * *'" : ""} -- sleep 1`,
    },
    {
      id: "checkins-sentry-cli",
      label: "sentry-cli",
      hint: "Wraps your command (here sleep 1), and tells its schedule along with its outcome.",
      text: `SENTRY_DSN=${quote(setup.dsn)} sentry-cli monitors run --schedule '30 2 * * *' ${slug} -- sleep 1`,
    },
  ];
}

function otelEnvironment(setup: Setup): string {
  return `export OTEL_EXPORTER_OTLP_ENDPOINT=${quote(setup.otlp_http_url)}
export OTEL_EXPORTER_OTLP_PROTOCOL='http/protobuf'
export OTEL_EXPORTER_OTLP_HEADERS='authorization=Bearer%20${setup.ingest_key}'
export OTEL_SERVICE_NAME='checkout'`;
}

/** Where a DSN sends single events: a path before the project's number stays before the API's. */
export function storeURL(dsn: string): string {
  const url = new URL(dsn);
  const cut = url.pathname.lastIndexOf("/");
  return `${url.protocol}//${url.host}${url.pathname.slice(0, cut)}/api/${url.pathname.slice(cut + 1)}/store/`;
}

/** The text as one word for a shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
