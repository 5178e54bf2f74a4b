import { expect, test } from "vitest";
import type { Receiver } from "../../lib/api";
import { newSecret, settingsOf, typed } from "./kinds";

const mail: Receiver = { id: "a", name: "A", kind: "email", settings: { to: ["x@example.com", "y@example.com"] } };

test("settings are edited as text and kept as what they are", () => {
  expect(typed(mail)).toEqual({ to: "x@example.com, y@example.com" });
  expect(settingsOf("email", mail.settings, { to: " x@example.com ,, z@example.com" })).toEqual({ to: ["x@example.com", "z@example.com"] });
});

test("what the form does not ask for stays, and what is emptied goes", () => {
  expect(settingsOf("slack", { endpoint: "https://slack.test", mention: "here" }, { webhook_url: "https://h/…abcd", mention: "" })).toEqual({
    endpoint: "https://slack.test",
    webhook_url: "https://h/…abcd",
  });
});

test("a signing secret has 32 random bytes", () => {
  const secret = newSecret();
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(newSecret()).not.toBe(secret);
});
