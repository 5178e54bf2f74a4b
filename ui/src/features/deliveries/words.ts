import type { Delivery, DeliveryState } from "../../lib/api";
import { duration } from "../../lib/format";

export const stateWords: Record<DeliveryState, { word: string; about: string; tone: string }> = {
  due: { word: "waiting", about: "It is sent when it is due, or tried again", tone: "text-info" },
  sending: { word: "on its way", about: "Somebody is sending it now", tone: "text-info" },
  done: { word: "arrived", about: "The receiver has taken it", tone: "text-ok" },
  folded: { word: "folded", about: "It stands in another message, because there were too many", tone: "text-muted" },
  withdrawn: { word: "withdrawn", about: "It healed before it was sent, and stands in the digest", tone: "text-muted" },
  failed: { word: "failed", about: "It could not be delivered", tone: "text-bad" },
};

const actions: Record<string, string> = {
  trigger: "opened", update: "changed", reminder: "reminder", escalate: "escalated", acknowledge: "acknowledged", resolve: "resolved", ticket: "ticket",
  comment: "comment", close: "closed", mail: "mail", digest: "digest", notice: "notice", test: "test",
};

export const actionWord = (action: string) => actions[action] ?? action;

/** How the newest messages went: "98 of 100 messages arrived; 2 failed." */
export function deliveriesSentence(all: readonly Delivery[]): string {
  if (all.length === 0) return "No message has been sent yet.";
  const n = (state: DeliveryState) => all.filter((one) => one.state === state).length;
  if (n("done") === all.length) return all.length === 1 ? "The only message arrived." : `The newest ${all.length} messages arrived.`;
  const parts = n("done") > 0 ? [`${n("done")} of the newest ${all.length} messages arrived`] : [`None of the newest ${all.length} messages arrived`];
  const waiting = n("due") + n("sending");
  if (all.length === 1) return `The only message ${waiting > 0 ? "is on the way" : n("failed") > 0 ? "failed" : `was ${stateWords[all[0]!.state].word}`}.`;
  if (waiting > 0) parts.push(`${waiting} ${waiting === 1 ? "is" : "are"} on the way`);
  if (n("failed") > 0) parts.push(`${n("failed")} failed`);
  return `${parts.join("; ")}.`;
}

interface Section {
  title?: unknown;
  lead?: unknown;
  lines?: unknown;
}

function list<T>(value: unknown): T[] {
  return Array.isArray(value) ? (value as T[]) : [];
}

/** The message as a person reads it, in plain text. It was frozen when it was made, so nothing is looked up. */
export function messageText(message: Record<string, unknown>, now?: number): string {
  const text = (key: string) => (typeof message[key] === "string" ? message[key] : "");
  const blocks: string[] = [];
  const severity = text("severity");
  blocks.push(`${severity ? `[${severity.toUpperCase()}] ` : ""}${text("title")}`);
  const all = list<Section>(message.sections);
  const section = (one: Section) => {
    const lines = list<{ text?: unknown; link?: unknown }>(one.lines).map((line) => `  ${String(line.text ?? "")}${line.link ? ` (${String(line.link)})` : ""}`);
    return [String(one.title ?? ""), ...lines].filter(Boolean).join("\n");
  };
  blocks.push(...all.filter((one) => one.lead === true).map(section));
  const span: string[] = [];
  if (text("since")) span.push(`Since ${text("since")}${now && !text("ended") ? ` (${duration(now - Date.parse(text("since")))})` : ""}`);
  if (text("ended")) span.push(`Ended ${text("ended")}${text("outcome") ? `: ${text("outcome")}` : ""}`);
  if (text("due")) span.push(`Due ${text("due")}`);
  if (text("late")) span.push(text("late"));
  blocks.push(span.join("\n"));
  blocks.push(list<{ name?: unknown; value?: unknown }>(message.facts).map((fact) => `${String(fact.name)}: ${String(fact.value)}`).join("\n"));
  blocks.push(...all.filter((one) => one.lead !== true).map(section));
  const first = text("first_action");
  blocks.push([first && `First: ${first}`, text("runbook") && `Runbook: ${text("runbook")}`].filter(Boolean).join("\n"));
  blocks.push(list<{ text?: unknown; url?: unknown }>(message.links).map((link) => `${String(link.text)}: ${String(link.url)}`).join("\n"));
  const told = list<string>(message.told);
  blocks.push([told.length > 0 && `Also told: ${told.join(", ")}`, text("next")].filter(Boolean).join("\n"));
  return blocks.filter(Boolean).join("\n\n");
}

/** The message as data, without its picture: that would fill the page. */
export function messageJSON(message: Record<string, unknown>): string {
  return JSON.stringify(message, (key, value: unknown) => (key === "png" && typeof value === "string" ? `(${value.length} characters of a picture)` : value), 2);
}
