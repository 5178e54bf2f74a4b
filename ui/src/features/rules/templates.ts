import type { Rule } from "../../lib/api";

/** A rule to begin with: it is valid once it has a service, and says what must be changed before it is meant. */
export interface Template {
  id: string;
  name: string;
  about: string;
  /** What the rule is about where it is not a service: the monitor or probe. */
  needs?: "monitor" | "probe";
  make: (service: string, monitor: string) => Omit<Rule, "id">;
}

export const templates: readonly Template[] = [
  {
    id: "error_rate",
    name: "Error rate",
    about: "Page when 5 % of the requests fail for 5 minutes.",
    make: (service) => ({
      name: `${service} errors`,
      kind: "error_rate",
      service,
      query: {},
      levels: [{ fire: ">= 5%", recover: "< 3%", severity: "page", for: "5m" }],
      first_action: "Look at the newest deploy, and roll it back if the errors began with it.",
    }),
  },
  {
    id: "latency",
    name: "Slow requests",
    about: "Page when the slowest hundredth of the requests takes a second or more.",
    make: (service) => ({
      name: `${service} is slow`,
      kind: "threshold",
      area: "latency",
      service,
      query: { source: "metrics", metric: "http.server.request.duration", aggregate: "p99", unit: "s" },
      levels: [{ fire: ">= 1", recover: "< 0.8", severity: "page", for: "10m" }],
      first_action: "See which route is slow, then the database and the services that it calls.",
    }),
  },
  {
    id: "slo_burn",
    name: "SLO burn",
    about: "Page when a 99.9 % objective of 30 days will not hold at this pace.",
    make: (service) => ({
      name: `${service} availability`,
      kind: "slo_burn",
      service,
      query: {},
      slo: { target: 0.999, period: "30d" },
      levels: [{ severity: "page" }, { severity: "ticket" }],
      first_action: "See which requests fail since when, and stop the deploy that began it.",
    }),
  },
  {
    id: "disk",
    name: "Disk forecast",
    about: "Tell before a disk is full: page 4 hours, ticket a day, mail days ahead.",
    make: (service) => ({
      name: `${service} disk`,
      kind: "forecast",
      service,
      query: { source: "metrics", metric: "system.filesystem.usage", aggregate: "last", unit: "By", by: ["host.name", "mountpoint"] },
      forecast: { capacity_metric: "system.filesystem.limit" },
      levels: [{ severity: "page" }, { severity: "ticket" }, { severity: "mail" }],
      first_action: "See what grows, then remove old files or give the disk more room.",
    }),
  },
  {
    id: "log_pattern",
    name: "Log pattern",
    about: "Open a ticket when words are logged 10 times in 5 minutes.",
    make: (service) => ({
      name: `${service} logs out of memory`,
      kind: "log_match",
      service,
      query: { source: "logs", text: "out of memory" },
      levels: [{ fire: ">= 10", severity: "ticket" }],
    }),
  },
  {
    id: "absence",
    name: "Absence",
    about: "Open a ticket when a service stops sending its logs.",
    make: (service) => ({
      name: `${service} is silent`,
      kind: "absence",
      service,
      query: { source: "logs" },
      window: "5m",
      levels: [{ severity: "ticket", for: "5m" }],
    }),
  },
  {
    id: "uptime",
    name: "Uptime",
    about: "Page when two regions cannot reach it for 90 seconds.",
    needs: "probe",
    make: (service, monitor) => ({
      name: `${service} is up`,
      kind: "uptime",
      service,
      query: { source: "monitors", ...(monitor ? { monitor } : {}), regions: 2 },
      levels: [{ severity: "page", for: "90s" }],
      first_action: "Open the address yourself, then look at the load balancer and the name's DNS.",
    }),
  },
  {
    id: "certificate",
    name: "Certificate",
    about: "Tell when a certificate is not renewed in time.",
    needs: "probe",
    make: (service, monitor) => ({
      name: `${service} certificate`,
      kind: "tls_expiry",
      service,
      query: { source: "monitors", ...(monitor ? { monitor } : {}) },
      levels: [{ severity: "page" }, { severity: "ticket" }],
      first_action: "Run the renewal by hand and read why it failed, then load the certificate.",
    }),
  },
  {
    id: "cron",
    name: "Cron job",
    about: "Open a ticket when a job fails or does not come.",
    needs: "monitor",
    make: (service, monitor) => ({
      name: `${monitor || service} runs`,
      kind: "cron",
      service,
      query: { source: "monitors", ...(monitor ? { monitor } : {}) },
      levels: [{ severity: "ticket" }],
    }),
  },
  {
    id: "anomaly",
    name: "Anomaly",
    about: "Mail when a metric is far from what is usual at this hour of the week.",
    make: (service) => ({
      name: `${service} is unusual`,
      kind: "anomaly",
      service,
      query: { source: "metrics", metric: "http.server.request.duration", aggregate: "count" },
      levels: [{ severity: "mail" }],
    }),
  },
];

/** The id of a rule that is made from its name: small letters, digits and hyphens, and none that is a page's. */
export function ruleID(name: string): string {
  const slug = name
    .toLowerCase()
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 100);
  return slug === "new" ? "new-rule" : slug;
}

export function fromTemplate(template: Template, service: string, monitor = ""): Rule {
  const rule = template.make(service, monitor);
  return { id: ruleID(rule.name), ...rule, state: "draft" };
}
