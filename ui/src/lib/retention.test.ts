import { expect, test } from "vitest";
import { daysWords, deletes, deletesSentence, retentionSentence } from "./retention";

const plain = (text: string) => text.replaceAll("\u00a0", " ");
const usual = { logs: 30, metrics: 30, errors: 90, checkins: 90 };

test("what is kept equally long is said together", () => {
  expect(plain(retentionSentence(usual))).toBe("Logs and metrics are kept for 30 days, errors and check-ins for 90 days.");
  expect(plain(retentionSentence({ logs: 1, metrics: 1, errors: 1, checkins: 1 }))).toBe("Logs, metrics, errors and check-ins are kept for 1 day.");
  expect(plain(retentionSentence({ logs: 7, metrics: 365, errors: 90, checkins: 30 }))).toBe("Logs are kept for 7 days, metrics for 1 year, errors for 90 days, check-ins for 30 days.");
});

test("only what is kept for less time is deleted", () => {
  expect(deletes(usual, usual)).toEqual([]);
  expect(deletes(usual, { ...usual, logs: 90 })).toEqual([]);
  expect(plain(deletesSentence(usual, { logs: 7, metrics: 90, errors: 30, checkins: 90 }))).toBe("logs older than 7 days and errors older than 30 days");
});

test("a year is a year", () => {
  expect([1, 30, 365, 400].map(daysWords).map(plain)).toEqual(["1 day", "30 days", "1 year", "400 days"]);
});
