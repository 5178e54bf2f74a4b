import { expect, test } from "vitest";
import type { Route } from "../../lib/api";
import { find, freshID, labelsOf, matches, moved } from "./routing";

const route = (id: string, more: Partial<Route> = {}): Route => ({ id, matchers: [], team: "", policy: "", ...more });
const tree: Route[] = [
  route("pay", {
    matchers: [{ label: "service", op: "=~", value: "pay.*" }],
    team: "payments",
    policy: "loud",
    routes: [route("pay-eu", { matchers: [{ label: "region", op: "=", value: "eu" }], group_by: ["region"] }), route("pay-web", { matchers: [{ label: "kind", op: "=", value: "web" }], team: "web" })],
  }),
  route("audit", { matchers: [{ label: "severity", op: "!=", value: "mail" }], team: "audit", continue: true }),
  route("default", { team: "platform" }),
];

test("the first route that matches is taken, and in it the first of its own", () => {
  expect(find(tree, { service: "payments", region: "eu" })).toEqual([{ team: "payments", policy: "loud", groupBy: ["region"], path: ["pay", "pay-eu"] }]);
  expect(find(tree, { service: "pay" })[0]?.path).toEqual(["pay"]);
});

test("another team does not keep the policy around it", () => {
  expect(find(tree, { service: "pay", kind: "web" })[0]).toMatchObject({ team: "web", policy: "" });
});

test("a route that continues adds to the others", () => {
  expect(find(tree, { service: "shop", severity: "page" }).map((one) => one.team)).toEqual(["audit", "platform"]);
  expect(find(tree, { severity: "mail" }).map((one) => one.team)).toEqual(["platform"]);
});

test("expressions are for the whole value, and a wrong one matches nothing", () => {
  expect(matches([{ label: "a", op: "=~", value: "b|c" }], { a: "bc" })).toBe(false);
  expect(matches([{ label: "a", op: "!~", value: "(" }], { a: "x" })).toBe(false);
  expect(matches([{ label: "a", op: "=", value: "" }], {})).toBe(true);
});

test("labels are read as they are written in a chat", () => {
  expect(labelsOf('service=checkout, severity="page",,x\nq=a=b')).toEqual({ service: "checkout", severity: "page", q: "a=b" });
});

test("routes move, and the default stays last", () => {
  expect(moved(tree, 0, 1, true).map((one) => one.id)).toEqual(["audit", "pay", "default"]);
  expect(moved(tree, 1, 1, true).map((one) => one.id)).toEqual(["pay", "audit", "default"]);
  expect(moved(tree, 0, -1, true).map((one) => one.id)).toEqual(["pay", "audit", "default"]);
});

test("a new route has an id of its own", () => {
  expect(freshID(tree)).toBe("route-6");
  expect(freshID([route("route-2")])).toBe("route-3");
});
