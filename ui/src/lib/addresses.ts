import type { Aggregate, DeliveryState, Level, Lifecycle, MonitorStatus, ReceiverKind, RuleClass, Severity } from "./api";
import { defaultRange, resolve } from "./range";
import { list, oneOf, text, type Search } from "./search";

// What each page keeps in its address. Whatever is unknown or unreadable is left out: an old link shows less, it does
// not fail.

/** How often a live range moves on; the default, 30 s, is not in the address. */
export const refreshes = ["off", "10s", "30s", "1m", "5m"] as const;
export type Refresh = (typeof refreshes)[number];

export interface RangeAddress {
  from?: string | undefined;
  to?: string | undefined;
  refresh?: Refresh | undefined;
}

export function rangeAddress(search: Search): RangeAddress {
  const raw = { from: text(search.from, 40) ?? "", to: text(search.to, 40) ?? "" };
  const range = resolve(raw, Date.now(), "utc") ? raw : defaultRange;
  return { ...range, refresh: oneOf(search.refresh, refreshes) };
}

export interface SignInAddress {
  next?: string | undefined;
}

export function signInAddress(search: Search): SignInAddress {
  const next = text(search.next, 2000);
  // Only pages of this server: //host and /\host are other hosts to a browser.
  return { next: next && /^\/(?![/\\])/.test(next) ? next : undefined };
}

export interface LogsAddress {
  q?: string | undefined;
  level?: Level[] | undefined;
  service?: string[] | undefined;
  /** The line whose details are open. */
  row?: string | undefined;
}

const knownLevels: readonly string[] = ["unknown", "trace", "debug", "info", "warn", "error", "fatal"] satisfies Level[];

export function logsAddress(search: Search): LogsAddress {
  const level = list(search.level)?.filter((one): one is Level => knownLevels.includes(one));
  return { q: text(search.q), level: level?.length ? level : undefined, service: list(search.service), row: text(search.row) };
}

export const aggregates = ["avg", "sum", "min", "max", "last", "count", "rate"] as const satisfies readonly Aggregate[];

export interface MetricsAddress {
  metric?: string | undefined;
  /** Part of the names in the list. */
  find?: string | undefined;
  agg?: Aggregate | undefined;
  by?: string[] | undefined;
  view?: "table" | undefined;
}

export function metricsAddress(search: Search): MetricsAddress {
  return {
    metric: text(search.metric, 500),
    find: text(search.find, 200),
    agg: oneOf(search.agg, aggregates),
    by: list(search.by, 10),
    view: oneOf(search.view, ["table"]),
  };
}

export interface MonitorsAddress {
  /** Only monitors of these statuses. */
  status?: MonitorStatus[] | undefined;
}

/** The statuses of monitors, in the order in which they are offered as filters. */
export const monitorStatuses = ["missed", "failed", "late", "running", "ok", "new", "paused"] as const satisfies readonly MonitorStatus[];

export function monitorsAddress(search: Search): MonitorsAddress {
  const asked = list(search.status);
  const status = monitorStatuses.filter((one) => asked?.includes(one));
  return { status: status.length ? status : undefined };
}

export const ruleStates = ["live", "shadow", "rehearsed", "draft", "paused"] as const satisfies readonly Lifecycle[];
export const severities = ["page", "ticket", "mail"] as const satisfies readonly Severity[];
export const ruleClasses = ["symptom", "leading", "cause"] as const satisfies readonly RuleClass[];

export interface RulesAddress {
  /** A part of a rule's name, service or sentence. */
  q?: string | undefined;
  state?: Lifecycle[] | undefined;
  severity?: Severity | undefined;
  class?: RuleClass | undefined;
  /** Only rules that are open, or that are not evaluated as they should. */
  only?: "open" | "problem" | undefined;
}

export function rulesAddress(search: Search): RulesAddress {
  const asked = list(search.state);
  const state = ruleStates.filter((one) => asked?.includes(one));
  return {
    q: text(search.q, 200),
    state: state.length ? state : undefined,
    severity: oneOf(search.severity, severities),
    class: oneOf(search.class, ruleClasses),
    only: oneOf(search.only, ["open", "problem"]),
  };
}

export interface NewRuleAddress {
  template?: string | undefined;
  service?: string | undefined;
  monitor?: string | undefined;
}

export function newRuleAddress(search: Search): NewRuleAddress {
  return { template: text(search.template, 40), service: text(search.service, 200), monitor: text(search.monitor, 200) };
}

export const receiverKinds = ["email", "slack", "pagerduty", "webhook", "discord", "teams", "telegram", "opsgenie"] as const satisfies readonly ReceiverKind[];

export interface ReceiversAddress {
  /** The receiver whose details are open. */
  open?: string | undefined;
  /** The kind of which a new one is made. */
  add?: ReceiverKind | undefined;
}

export function receiversAddress(search: Search): ReceiversAddress {
  return { open: text(search.open, 100), add: oneOf(search.add, receiverKinds) };
}

export const deliveryStates = ["due", "sending", "done", "folded", "withdrawn", "failed"] as const satisfies readonly DeliveryState[];

export interface DeliveriesAddress {
  receiver?: string | undefined;
  incident?: string | undefined;
  state?: DeliveryState | undefined;
  /** The key of the delivery whose details are open. */
  open?: string | undefined;
}

export function deliveriesAddress(search: Search): DeliveriesAddress {
  return { receiver: text(search.receiver, 100), incident: text(search.incident, 100), state: oneOf(search.state, deliveryStates), open: text(search.open, 255) };
}

export const issueSorts = ["last", "first", "events", "users"] as const;
export type IssueSort = (typeof issueSorts)[number];

export interface IssuesAddress {
  q?: string | undefined;
  sort?: IssueSort | undefined;
}

export function issuesAddress(search: Search): IssuesAddress {
  return { q: text(search.q, 200), sort: oneOf(search.sort, issueSorts) };
}

export interface IssueAddress {
  event?: string | undefined;
  raw?: "1" | undefined;
}

export function issueAddress(search: Search): IssueAddress {
  return { event: text(search.event, 32), raw: oneOf(search.raw, ["1"]) };
}

export const incidentStates = ["open", "resolved"] as const;
export type IncidentState = (typeof incidentStates)[number];

export interface IncidentsAddress {
  /** Only incidents in this state. */
  state?: IncidentState | undefined;
  /** Only incidents of these severities. */
  severity?: Severity[] | undefined;
}

export function incidentsAddress(search: Search): IncidentsAddress {
  const asked = list(search.severity);
  const severity = severities.filter((one) => asked?.includes(one));
  return { state: oneOf(search.state, incidentStates), severity: severity.length ? severity : undefined };
}

export const oncallTabs = ["calendar", "policies", "teams", "people"] as const;
export type OncallTab = (typeof oncallTabs)[number];

export interface OncallAddress {
  tab?: OncallTab | undefined;
  /** The Monday with which the calendar begins, 2026-08-17; this week's when absent. */
  week?: string | undefined;
}

export function oncallAddress(search: Search): OncallAddress {
  const week = text(search.week, 10);
  return { tab: oneOf(search.tab, oncallTabs), week: week && /^\d{4}-\d\d-\d\d$/.test(week) && !Number.isNaN(Date.parse(week)) ? week : undefined };
}

export interface SilencesAddress {
  tab?: "maintenance" | undefined;
}

export function silencesAddress(search: Search): SilencesAddress {
  return { tab: oneOf(search.tab, ["maintenance"]) };
}

export interface NewSilenceAddress {
  /** Conditions as text, such as service="checkout", one each. */
  match?: string[] | undefined;
}

export function newSilenceAddress(search: Search): NewSilenceAddress {
  return { match: list(search.match, 20) };
}

export interface DigestAddress {
  team?: string | undefined;
}

export function digestAddress(search: Search): DigestAddress {
  return { team: text(search.team, 100) };
}
