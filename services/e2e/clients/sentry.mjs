// Sends an exception, a message and a monitored job through @sentry/node; the DSN is SENTRY_DSN.
import * as Sentry from "@sentry/node";

Sentry.init({ dsn: process.env.SENTRY_DSN, release: "shop@1.42.0", environment: "e2e", tracesSampleRate: 1 });
Sentry.setUser({ id: "u-17", email: "grace@example.org" });
Sentry.setTag("region", "eu-west-1");
Sentry.addBreadcrumb({ category: "cart", message: "added an anchor" });

function chargeCard() {
  throw new TypeError("cannot read the card of order 4711");
}
try {
  chargeCard();
} catch (error) {
  Sentry.captureException(error);
}
Sentry.captureMessage("the till was opened by hand", "warning");
await Sentry.withMonitor("js-nightly", async () => {}, {
  schedule: { type: "crontab", value: "30 2 * * *" },
  timezone: "Europe/Berlin",
  checkinMargin: 5,
  maxRuntime: 30,
});
if (!(await Sentry.flush(20_000))) throw new Error("the events did not leave in time");
