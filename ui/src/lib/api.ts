import createClient from "openapi-fetch";
import type { components, paths } from "./api.gen";

type Schemas = components["schemas"];
export type Session = Schemas["Session"];
export type Project = Schemas["Project"];
export type Setup = Schemas["Setup"];
export type Signals = Schemas["Signals"];
export type Signal = keyof Signals;
export type Overview = Schemas["Overview"];
export type Level = Schemas["Level"];
export type Log = Schemas["Log"];
export type LogHistogram = Schemas["LogHistogram"];
export type Metric = Schemas["Metric"];
export type MetricRange = Schemas["MetricRange"];
export type MetricKind = Schemas["MetricKind"];
export type Aggregate = Schemas["Aggregate"];
export type Issue = Schemas["Issue"];
export type IssueResolution = Schemas["IssueResolution"];
export type IssueDetail = Schemas["IssueDetail"];
export type Event = Schemas["Event"];
export type EventSummary = Schemas["EventSummary"];
export type Exception = Schemas["Exception"];
export type Frame = Schemas["Frame"];
export type Breadcrumb = Schemas["Breadcrumb"];
export type Monitor = Schemas["Monitor"];
export type MonitorStatus = Schemas["MonitorStatus"];
export type Checkin = Schemas["Checkin"];
export type NewMonitor = Schemas["NewMonitor"];
export type Probe = Schemas["Probe"];
export type ProbeSettings = Schemas["ProbeSettings"];
export type ProbeResult = Schemas["ProbeResult"];
export type MonitorUpdate = Schemas["MonitorUpdate"];
export type Schedule = Schemas["Schedule"];
export type NewSchedule = Schemas["NewSchedule"];
export type Durations = Schemas["Durations"];
export type Badges = Schemas["Badges"];
export type Notice = Schemas["Notice"];
export type Retention = Schemas["Retention"];
export type RetentionDays = Schemas["RetentionDays"];
export type Severity = Schemas["Severity"];
export type Incident = Schemas["Incident"];
export type IncidentDetail = Schemas["IncidentDetail"];
export type IncidentInstance = Schemas["IncidentInstance"];
export type IncidentEntry = Schemas["IncidentEntry"];
export type Delivery = Schemas["Delivery"];
export type Matcher = Schemas["Matcher"];
export type Silence = Schemas["StoredSilence"];
export type NewSilence = Schemas["NewSilence"];
export type StoredWindow = Schemas["StoredWindow"];
export type MaintenanceWindow = Schemas["MaintenanceWindow"];
export type Hours = Schemas["Hours"];
export type OncallSchedule = Schemas["OncallSchedule"];
export type OncallLayer = Schemas["OncallLayer"];
export type OncallShift = Schemas["OncallShift"];
export type OncallGap = Schemas["OncallGap"];
export type Team = Schemas["Team"];
export type Person = Schemas["Person"];
export type Policy = Schemas["Policy"];
export type Digest = Schemas["Digest"];
export type Problem = Schemas["Problem"];
export type Rule = Schemas["Rule"];
export type RuleKind = Schemas["RuleKind"];
export type RuleClass = Schemas["RuleClass"];
export type RuleLevel = Schemas["RuleLevel"];
export type RuleVerdict = Schemas["RuleVerdict"];
export type StoredRule = Schemas["StoredRule"];
export type Lifecycle = Schemas["Lifecycle"];
export type Transition = Schemas["Transition"];
export type Receiver = Schemas["Receiver"];
export type ReceiverKind = Receiver["kind"];
export type StoredReceiver = Schemas["StoredReceiver"];
export type DeliveryDetail = Schemas["DeliveryDetail"];
export type DeliveryState = Schemas["DeliveryState"];
export type DeliveryTry = Schemas["DeliveryTry"];
export type Route = Schemas["Route"];
export type StoredRoutes = Schemas["StoredRoutes"];
export type Alerting = Schemas["Alerting"];

/** What the API answers when it cannot do what was asked; unreachable is for no answer at all. */
export type ErrorCode = Schemas["Error"]["code"] | "unreachable";

export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly requestId: string;
  /** Of unprocessable: all that is wrong, by field. */
  readonly problems: readonly Problem[];

  constructor(code: ErrorCode, message: string, requestId = "", problems: readonly Problem[] = []) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.requestId = requestId;
    this.problems = problems;
  }
}

const byStatus: Record<number, ErrorCode> = {
  400: "invalid", 401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict", 422: "invalid", 429: "rate_limited", 503: "unavailable",
};

const client = createClient<paths>({ baseUrl: "/api/v1/midwatch", credentials: "same-origin" });

client.use({
  onError({ error }) {
    if (error instanceof DOMException && error.name === "AbortError") return undefined;
    return new ApiError("unreachable", "Midwatch does not answer.");
  },
  async onResponse({ response }) {
    if (response.ok) return;
    const id = response.headers.get("X-Request-Id") ?? "";
    let body: Partial<Schemas["Error"]> = {};
    try {
      body = (await response.clone().json()) as Partial<Schemas["Error"]>;
    } catch {
      // Not ours: a proxy in between. The status has to do.
    }
    throw new ApiError(
      body.code ?? byStatus[response.status] ?? "internal",
      body.message ?? `The server answered ${response.status}.`,
      body.request_id ?? id,
      body.problems,
    );
  },
});

export const api = client;

/** The body of an answer; the middleware above has thrown for every answer that is an error. */
export async function data<T>(answer: Promise<{ data?: T }>): Promise<T> {
  const { data: body } = await answer;
  if (body === undefined) throw new ApiError("internal", "The server sent an answer without a body.");
  return body;
}
