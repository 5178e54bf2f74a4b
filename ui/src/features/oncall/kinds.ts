/** What can be configured here, as it stands in addresses. */
export const kinds = ["schedules", "policies", "teams", "people"] as const;
export type Kind = (typeof kinds)[number];

export const singular: Record<Kind, string> = { schedules: "schedule", policies: "policy", teams: "team", people: "person" };
