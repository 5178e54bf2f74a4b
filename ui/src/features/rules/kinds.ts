import type { Rule, RuleKind, Severity } from "../../lib/api";

/** What the form knows about a kind of rule; the defaults are those of alerts/rule. */
interface Kind {
  name: string;
  /** What it is for, in one line. */
  about: string;
  /** What it can read, the default first. */
  sources: readonly NonNullable<Rule["query"]["source"]>[];
  severity: Severity;
  /** Whether its levels have limits; the others bring their own. */
  bounded?: true;
}

export const kinds: Record<RuleKind, Kind> = {
  error_rate: { name: "Error rate", about: "The share of requests that fail.", sources: ["metrics", "logs"], severity: "page", bounded: true },
  slo_burn: { name: "SLO burn", about: "An objective's error budget is spent too fast.", sources: ["metrics", "logs"], severity: "page" },
  uptime: { name: "Uptime", about: "A probe cannot reach it from outside.", sources: ["monitors"], severity: "page" },
  threshold: { name: "Metric", about: "A metric is over or below a limit.", sources: ["metrics"], severity: "ticket", bounded: true },
  log_match: { name: "Log pattern", about: "Log records that match come too often.", sources: ["logs"], severity: "ticket", bounded: true },
  log_ratio: { name: "Log share", about: "The share of log records that are bad.", sources: ["logs"], severity: "ticket", bounded: true },
  issue_new: { name: "New error", about: "An error that was never seen before.", sources: ["errors"], severity: "mail" },
  issue_regression: { name: "Error is back", about: "A resolved error comes again.", sources: ["errors"], severity: "mail" },
  issue_spike: { name: "Error spike", about: "An error comes far more often than usual.", sources: ["errors"], severity: "ticket" },
  cron: { name: "Cron job", about: "A job fails, or does not come.", sources: ["monitors"], severity: "ticket" },
  tls_expiry: { name: "Certificate", about: "A certificate was not renewed in time.", sources: ["monitors"], severity: "ticket" },
  forecast: { name: "Forecast", about: "Something finite will be full.", sources: ["metrics"], severity: "ticket" },
  absence: { name: "Absence", about: "Something stopped sending.", sources: ["metrics", "logs", "monitors"], severity: "ticket" },
  anomaly: { name: "Anomaly", about: "A value is far from what is usual at this hour of the week.", sources: ["metrics", "logs"], severity: "mail" },
  external: { name: "External", about: "Another system evaluates it and sends its alerts here.", sources: ["external"], severity: "ticket" },
};

export const kindNames = Object.keys(kinds) as RuleKind[];

/** The levels that a kind has where none are written. */
export function levelsOf(rule: Rule): Rule["levels"] {
  if (rule.levels?.length) return rule.levels;
  switch (rule.kind) {
    case "threshold":
    case "log_match":
    case "log_ratio":
    case "error_rate":
      return [];
    case "slo_burn":
    case "tls_expiry":
      return [{ severity: "page" }, { severity: "ticket" }];
    case "forecast":
      return [{ severity: "page" }, { severity: "ticket" }, { severity: "mail" }];
    default:
      return [{ severity: kinds[rule.kind]?.severity ?? "ticket" }];
  }
}

/** Whether the rule may wake a person. */
export function pages(rule: Rule): boolean {
  return levelsOf(rule).some((level) => level.severity === "page");
}

/** The rule as another kind; what the new kind has no use for goes. */
export function ofKind(rule: Rule, kind: RuleKind): Rule {
  const { slo, forecast, ...rest } = rule;
  const { source: _source, ...query } = rule.query;
  const levels = kinds[kind].bounded ? rule.levels : rule.levels.map(({ fire: _fire, recover: _recover, ...level }) => level);
  return { ...rest, kind, query, levels, ...(kind === "slo_burn" ? { slo: slo ?? { target: 0.999 } } : {}), ...(kind === "forecast" && forecast ? { forecast } : {}) };
}
