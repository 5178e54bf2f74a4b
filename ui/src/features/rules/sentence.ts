import { kinds, levelsOf } from "./kinds";
import { bound, many, seconds, spell } from "./length";
import type { Rule, RuleKind, RuleLevel, Severity } from "../../lib/api";

/** A piece of a rule's sentence; those with a path can be changed where they stand. */
export interface Part {
  text: string;
  path?: string;
  /** What the piece is, for those who cannot see where it stands. */
  label?: string;
}

/** Where kinds differ in how long evidence must last and over what it is gathered, in seconds. */
const defaults: Record<RuleKind, { hold: number; window: number }> = {
  threshold: { hold: 300, window: 300 },
  log_match: { hold: 0, window: 300 },
  log_ratio: { hold: 300, window: 300 },
  error_rate: { hold: 180, window: 300 },
  issue_new: { hold: 0, window: 300 },
  issue_regression: { hold: 0, window: 300 },
  issue_spike: { hold: 60, window: 300 },
  cron: { hold: 0, window: 300 },
  uptime: { hold: 90, window: 60 },
  tls_expiry: { hold: 0, window: 3600 },
  slo_burn: { hold: 180, window: 3600 },
  forecast: { hold: 1800, window: 259_200 },
  absence: { hold: 300, window: 300 },
  anomaly: { hold: 900, window: 300 },
  external: { hold: 0, window: 300 },
};

/**
 * The sentence that a rule is, in the pieces in which it is edited. The words are those of Rule.Sentence in
 * alerts/rule/words.go; team is the name of the rule's team.
 */
export function sentenceParts(rule: Rule, team?: string): Part[] {
  const out: Part[] = [];
  levelsOf(rule).forEach((level, i) => {
    const whom = whomParts(rule, level, i, team);
    if (i > 0) {
      whom[0]!.text = lower(whom[0]!.text);
      out.push({ text: "; " });
    }
    out.push(...whom, { text: " when " }, ...what(rule, level, i));
  });
  if (rule.query.by?.length) out.push({ text: ", for each " }, { text: rule.query.by.join(" and "), path: "query.by", label: "groups" });
  return out;
}

export function sentence(rule: Rule, team?: string): string {
  return sentenceParts(rule, team)
    .map((part) => part.text)
    .join("");
}

/** Numbers stay on one line with their units. */
export function unbroken(text: string): string {
  return text.replaceAll(/(\d) (?=\S)/g, "$1\u00a0");
}

const lower = (text: string) => text.slice(0, 1).toLowerCase() + text.slice(1);

const plain = (text: string): Part => ({ text });
const who = (text: string): Part => ({ text, path: "team", label: "team" });

function whomParts(rule: Rule, level: RuleLevel, i: number, team: string | undefined): Part[] {
  const name = team ?? rule.team;
  const severity: Severity = level.severity ?? kinds[rule.kind]?.severity ?? "ticket";
  const how = (text: string): Part => ({ text, path: `levels[${i}].severity`, label: "severity" });
  switch (severity) {
    case "page":
      return [how("Page"), { text: " " }, who(name || "whoever is on call")];
    case "ticket":
      return name ? [how("Open a ticket"), { text: " for " }, who(name)] : [how("Open a ticket")];
    default:
      return [how("Mail"), { text: " " }, who(name || "the owner")];
  }
}

function what(rule: Rule, level: RuleLevel, i: number): Part[] {
  const q = rule.query;
  const metric = (fallback: string): Part => ({ text: q.metric || fallback, path: "query.metric", label: "metric" });
  const service: Part = { text: rule.service ?? "", path: "service", label: "service" };
  const monitor: Part = { text: q.monitor ?? "", path: "query.monitor", label: "monitor" };
  const subject = [service, monitor].find((part) => part.text !== "");
  /** The subject after a word, or nothing: a rule may be about everything. */
  const after = (word: string): Part[] => (subject ? [plain(` ${word} `), subject] : []);
  const orElse = (text: string): Part => subject ?? { ...service, text };
  const limit: Part = { text: limitWords(rule, level), path: `levels[${i}].fire`, label: "limit" };
  const held = level.for === undefined ? defaults[rule.kind]?.hold ?? 0 : seconds(level.for);
  const hold: Part[] = held === 0 ? [] : [plain(" for "), { text: held === undefined ? String(level.for) : spell(held), path: `levels[${i}].for`, label: "how long" }];
  const lasting = rule.window === undefined ? defaults[rule.kind]?.window ?? 300 : seconds(rule.window);
  switch (rule.kind) {
    case "threshold":
      return [
        plain("the "),
        { text: aggregateName(q.aggregate), path: "query.aggregate", label: "aggregate" },
        plain(" of "),
        metric("a metric"),
        ...after("of"),
        plain(" is "),
        limit,
        ...hold,
      ];
    case "log_match":
      return [
        orElse("any service"),
        plain(" logs "),
        { text: q.text ? `“${cut(q.text, 40)}”` : "matching log records", path: "query.text", label: "words" },
        plain(" "),
        limit,
        plain(" times in "),
        { text: lasting === undefined ? String(rule.window) : spell(lasting), path: "window", label: "window" },
        ...hold,
      ];
    case "log_ratio":
      return [plain("the share of bad log records"), ...after("of"), plain(" is "), limit, ...hold];
    case "error_rate":
      return [...(subject ? [subject, plain(" ")] : []), plain("errors are "), limit, ...hold];
    case "issue_new":
      return [plain("a new issue appears"), ...after("in")];
    case "issue_regression":
      return [plain("a resolved issue comes back"), ...after("in")];
    case "issue_spike":
      return [plain("an issue"), ...after("of"), plain(" happens five times as often as usual")];
    case "cron":
      return [...(q.monitor ? [plain("the job "), { ...monitor, label: "job" }] : [{ text: "a job", path: "query.monitor", label: "job" }, ...after("of")]), plain(" fails, or does not come")];
    case "uptime":
      return [orElse("what is probed"), plain(" cannot be reached from "), { text: many(q.regions || 2, "region"), path: "query.regions", label: "regions" }, ...hold];
    case "tls_expiry":
      return [plain(subject ? "the certificate" : "a certificate"), ...after("of"), plain(level.severity === "page" ? " is not valid or expires within a day" : " has not been renewed in time")];
    case "slo_burn":
      return [
        orElse("the project"),
        plain(" spends the error budget of its "),
        { text: quantity(rule.slo?.target ?? 0, "1"), path: "slo.target", label: "objective" },
        plain(` objective ${level.severity === "ticket" ? "faster than it may, for days" : "too fast to last"}`),
      ];
    case "forecast":
      return [
        metric("a metric"),
        ...after("of"),
        plain(` will be full ${level.severity === "page" ? "within 4 hours" : level.severity === "mail" ? "in the coming days" : "within a day"}`),
      ];
    case "absence":
      return [orElse("the project"), plain(" has sent "), nothing(rule), ...hold];
    case "anomaly":
      return [metric("the number of log records"), ...after("of"), plain(" is far from what is usual at this hour"), ...hold];
    case "external":
      return [plain("the system that watches "), orElse(rule.name), plain(" says so")];
    default:
      return [plain(rule.kind)];
  }
}

/** What is absent. */
function nothing(rule: Rule): Part {
  switch (rule.query.source) {
    case "logs":
      return { text: "no logs", path: "query.source", label: "source" };
    case "monitors":
      return { text: `no word of ${rule.query.monitor || "its jobs"}`, path: "query.monitor", label: "job" };
    default:
      return { text: `no ${rule.query.metric || "metrics"}`, path: "query.metric", label: "metric" };
  }
}

function aggregateName(name: string | undefined): string {
  return { avg: "average", min: "minimum", max: "maximum", last: "last value", "": "average" }[name ?? ""] ?? name!;
}

/** "5 % or more" */
export function limitWords(rule: Rule, level: RuleLevel): string {
  const b = bound(level.fire ?? "");
  if (!b) return level.fire || "…";
  const v = quantity(b.value, unitOf(rule));
  return { ">": `over ${v}`, ">=": `${v} or more`, "<": `below ${v}`, "<=": `${v} or less` }[b.op];
}

/** The unit of the rule's values: "1" is a share, "x" a multiple, "" a plain number. */
export function unitOf(rule: Rule): string {
  switch (rule.kind) {
    case "error_rate":
    case "log_ratio":
      return "1";
    case "slo_burn":
    case "anomaly":
      return "x";
    case "forecast":
    case "tls_expiry":
    case "absence":
      return "s";
    case "threshold":
      break;
    default:
      return "";
  }
  const { unit, aggregate = "", metric = "" } = rule.query;
  if (unit) return unit;
  if (["count", "rate", "increase"].includes(aggregate)) return "";
  const name = metric.toLowerCase();
  const has = (...parts: string[]) => parts.some((part) => name.includes(part));
  if (has("milliseconds", "_ms", ".ms")) return "ms";
  if (has("duration", "seconds", "latency")) return "s";
  if (has("bytes", "memory.usage", "filesystem.usage")) return "By";
  if (has("utilization", "ratio")) return "1";
  return "";
}

/** A number as a person reads it: three digits, with the unit that fits. */
export function quantity(v: number, unit: string): string {
  const size = Math.abs(v);
  switch (unit) {
    case "1":
      return size > 0.99 && size < 1 && v > 0 ? `${Math.floor(Number((v * 1e7).toPrecision(12))) / 1e5} %` : `${figure(v * 100)} %`;
    case "%":
      return `${figure(v)} %`;
    case "x":
      return `${figure(v)}×`;
    case "ms":
      return quantity(v / 1000, "s");
    case "s":
      if (size === 0) return "0 s";
      if (size < 0.001) return `${figure(v * 1e6)} µs`;
      if (size < 1) return `${figure(v * 1e3)} ms`;
      if (size < 120 || !Number.isFinite(v)) return Number.isFinite(v) ? `${figure(v)} s` : "unknown";
      return spell(Math.round(size)).replace(/ days?/, " d").replace(/ hours?/, " h").replace(/ minutes?/, " min").replace(/ seconds?/, " s");
    case "By": {
      const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
      let i = 0;
      let rest = v;
      for (; Math.abs(rest) >= 1024 && i < names.length - 1; i++) rest /= 1024;
      return `${figure(rest)} ${names[i]}`;
    }
    case "":
      return figure(v);
    default:
      return `${figure(v)} ${unit}`;
  }
}

function figure(v: number): string {
  if (Math.abs(v) >= 100) return Math.round(v).toLocaleString("en-US");
  return String(Number(v.toPrecision(3)));
}

function cut(text: string, n: number): string {
  const all = [...text];
  return all.length <= n ? text : `${all.slice(0, n - 1).join("").trimEnd()}…`;
}
