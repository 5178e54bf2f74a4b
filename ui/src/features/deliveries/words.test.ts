import { expect, test } from "vitest";
import type { Delivery } from "../../lib/api";
import { deliveriesSentence, messageJSON, messageText } from "./words";

const delivery = (state: Delivery["state"]): Delivery => ({ key: state, receiver: "r", action: "trigger", severity: "page", state, created_at: "", due_at: "", attempts: 1, uncertain: false });

test("the sentence says how many arrived, wait and failed", () => {
  expect(deliveriesSentence([])).toBe("No message has been sent yet.");
  expect(deliveriesSentence([delivery("done")])).toBe("The only message arrived.");
  expect(deliveriesSentence([delivery("withdrawn")])).toBe("The only message was withdrawn.");
  expect(deliveriesSentence([delivery("done"), delivery("done")])).toBe("The newest 2 messages arrived.");
  expect(deliveriesSentence([delivery("done"), delivery("due"), delivery("failed")])).toBe("1 of the newest 3 messages arrived; 1 is on the way; 1 failed.");
});

test("a message reads from what users feel to what to do", () => {
  const text = messageText({
    severity: "page",
    title: "checkout: 12 % errors",
    since: "2026-11-21T02:41:00Z",
    facts: [{ name: "Value", value: "12 %" }],
    sections: [{ title: "Deploys", lines: [{ text: "1.42.0 at 02:38", link: "https://m/d" }] }, { title: "What users feel", lead: true, lines: [{ text: "340 users" }] }],
    first_action: "Roll back.",
    told: ["Ann"],
  });
  expect(text).toBe(
    "[PAGE] checkout: 12 % errors\n\nWhat users feel\n  340 users\n\nSince 2026-11-21T02:41:00Z\n\nValue: 12 %\n\nDeploys\n  1.42.0 at 02:38 (https://m/d)\n\nFirst: Roll back.\n\nAlso told: Ann",
  );
});

test("a message that is not as expected is still shown", () => {
  expect(messageText({ title: "x", sections: "odd", facts: [{}] })).toBe("x\n\nundefined: undefined");
  expect(messageJSON({ chart: { png: "abcd" } })).toContain("(4 characters of a picture)");
});
