import type { Receiver, ReceiverKind } from "../../lib/api";

/** A setting of a receiver as its form asks for it; the names are those of alerts/notify. */
export interface Setting {
  name: string;
  label: string;
  hint?: string;
  /** Masked in answers: what is not typed anew stays as it is. */
  secret?: true;
  required?: true;
  /** Several, with commas between them. */
  list?: true;
  choices?: readonly (readonly [string, string])[];
  placeholder?: string;
}

interface Kind {
  name: string;
  about: string;
  /** To be known before it is chosen. */
  warning?: string;
  limit: string;
  settings: readonly Setting[];
}

const regions = [
  ["", "US"],
  ["eu", "EU"],
] as const;

export const kinds: Record<ReceiverKind, Kind> = {
  email: {
    name: "E-mail",
    about: "To one or several addresses.",
    limit: "20 an hour",
    settings: [{ name: "to", label: "Addresses", list: true, required: true, placeholder: "oncall@example.com", hint: "At most 20, with commas between them." }],
  },
  slack: {
    name: "Slack",
    about: "A channel, by webhook or by a bot.",
    limit: "1 a second",
    settings: [
      { name: "webhook_url", label: "Webhook", secret: true, placeholder: "https://hooks.slack.com/services/…", hint: "Posts only. A bot edits its messages and threads what follows." },
      { name: "token", label: "Or the token of a bot", secret: true, placeholder: "xoxb-…" },
      { name: "channel", label: "Channel of the bot", placeholder: "#oncall" },
      { name: "mention", label: "Mention when it pages", placeholder: "here", hint: "here, channel, or the id of a person or group." },
    ],
  },
  pagerduty: {
    name: "PagerDuty",
    about: "A service, by Events v2.",
    limit: "10 in 5 minutes",
    settings: [
      { name: "routing_key", label: "Integration key", secret: true, required: true, hint: "32 characters, of the service's Events API v2 integration." },
      { name: "region", label: "Region", choices: regions },
    ],
  },
  webhook: {
    name: "Webhook",
    about: "A signed call to an address of yours.",
    limit: "30 a minute",
    settings: [
      { name: "url", label: "Address", required: true, placeholder: "https://example.com/alerts" },
      { name: "body", label: "Body", choices: [["", "Midwatch"], ["alertmanager", "Alertmanager v4"]] },
      { name: "authorization", label: "Authorization header", secret: true, placeholder: "Bearer …", hint: "The whole header. It is asked for again when the address changes." },
      { name: "secrets", label: "Signing secrets", secret: true, list: true, placeholder: "whsec_…", hint: "Two while one is being replaced. Without any the calls are not signed." },
    ],
  },
  discord: {
    name: "Discord",
    about: "A channel, by webhook.",
    limit: "30 a minute",
    settings: [
      { name: "webhook_url", label: "Webhook", secret: true, required: true, placeholder: "https://discord.com/api/webhooks/…" },
      { name: "mention", label: "Mention when it pages", placeholder: "here", hint: "here, everyone, or the id of a role." },
    ],
  },
  teams: {
    name: "Microsoft Teams",
    about: "A channel, by a webhook of Workflows.",
    warning: "Teams does not answer whether a card was shown.",
    limit: "30 a minute",
    settings: [{ name: "webhook_url", label: "Webhook of the workflow", secret: true, required: true, placeholder: "https://…logic.azure.com/…" }],
  },
  telegram: {
    name: "Telegram",
    about: "A chat, by a bot.",
    limit: "20 a minute",
    settings: [
      { name: "token", label: "Token of the bot", secret: true, required: true, placeholder: "123456:ABC…" },
      { name: "chat_id", label: "Chat", required: true, placeholder: "-1001234567890", hint: "Its number, or @channel." },
    ],
  },
  opsgenie: {
    name: "Opsgenie",
    about: "A team's integration. Ends April 2027.",
    warning: "Opsgenie ends on 5 April 2027. Until then alerts are opened, acknowledged and closed there; plan another receiver.",
    limit: "10 in 5 minutes",
    settings: [
      { name: "api_key", label: "API key", secret: true, required: true },
      { name: "region", label: "Region", choices: regions },
    ],
  },
};

export const kindNames = Object.keys(kinds) as ReceiverKind[];

/** What is typed for each setting, as text. */
export function typed(receiver: Receiver): Record<string, string> {
  return Object.fromEntries(
    kinds[receiver.kind].settings.map(({ name }) => {
      const value = receiver.settings[name];
      return [name, Array.isArray(value) ? value.join(", ") : typeof value === "string" ? value : ""];
    }),
  );
}

/** The settings of a form, on top of those that it does not ask for; what is empty is left out. */
export function settingsOf(kind: ReceiverKind, before: Receiver["settings"], form: Record<string, string>): Receiver["settings"] {
  const out = { ...before };
  for (const { name, list } of kinds[kind].settings) {
    const text = (form[name] ?? "").trim();
    if (text === "") delete out[name];
    else out[name] = list ? text.split(",").map((one) => one.trim()).filter(Boolean) : text;
  }
  return out;
}

/** A new secret that signs a webhook's calls, as Standard Webhooks writes them. */
export function newSecret(): string {
  return `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))))}`;
}
