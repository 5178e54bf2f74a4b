import type { Matcher, Route } from "../../lib/api";

// Where labels lead, as alerts/oncall finds it: this is for the tester, so that a route can be tried before it is kept.

export interface Found {
  team: string;
  /** Empty: the team's. */
  policy: string;
  groupBy: readonly string[];
  /** The ids of the routes, from the outermost to the one that is taken. */
  path: readonly string[];
}

export const defaultGroupBy = ["service", "environment", "area"] as const;
const maxDepth = 10;

export function matches(matchers: readonly Matcher[], labels: Readonly<Record<string, string>>): boolean {
  return matchers.every(({ label, op, value }) => {
    const own = labels[label] ?? "";
    switch (op) {
      case "=":
        return own === value;
      case "!=":
        return own !== value;
      default: {
        const whole = expression(value);
        return whole !== undefined && whole.test(own) === (op === "=~");
      }
    }
  });
}

/** A regular expression for the whole value; undefined where it is none, or one that only the server knows. */
export function expression(value: string): RegExp | undefined {
  try {
    return new RegExp(`^(?:${value})$`, "su");
  } catch {
    return undefined;
  }
}

export function find(routes: readonly Route[], labels: Readonly<Record<string, string>>, around: Found = { team: "", policy: "", groupBy: defaultGroupBy, path: [] }): Found[] {
  if (around.path.length >= maxDepth) return [];
  const out: Found[] = [];
  for (const route of routes) {
    if (!matches(route.matchers ?? [], labels)) continue;
    const here = inside(around, route);
    const inner = find(route.routes ?? [], labels, here);
    out.push(...(inner.length > 0 ? inner : [here]));
    if (!route.continue) break;
  }
  return out;
}

function inside(around: Found, route: Route): Found {
  // The policy around it is that of another team.
  const other = route.team !== "" && route.team !== around.team;
  return {
    team: route.team || around.team,
    policy: route.policy || (other ? "" : around.policy),
    groupBy: route.group_by?.length ? route.group_by : around.groupBy,
    path: [...around.path, route.id],
  };
}

/** The labels of "service=checkout, severity=page". */
export function labelsOf(text: string): Record<string, string> {
  const out: Record<string, string> = {};
  for (const part of text.split(/[,\n]/)) {
    const [key = "", ...rest] = part.split("=");
    if (key.trim() !== "" && rest.length > 0) out[key.trim()] = rest.join("=").trim().replace(/^"(.*)"$/, "$1");
  }
  return out;
}

/** Another list with the route at i moved by one; the default stays last. */
export function moved(routes: readonly Route[], i: number, by: -1 | 1, pinned: boolean): Route[] {
  const to = i + by;
  const last = routes.length - (pinned ? 1 : 0);
  if (i < 0 || to < 0 || i >= last || to >= last) return [...routes];
  const copy = [...routes];
  [copy[i], copy[to]] = [copy[to]!, copy[i]!];
  return copy;
}

/** An id that no route has yet. */
export function freshID(routes: readonly Route[]): string {
  const taken = new Set<string>();
  const walk = (all: readonly Route[]) => {
    for (const one of all) {
      taken.add(one.id);
      walk(one.routes ?? []);
    }
  };
  walk(routes);
  for (let n = taken.size + 1; ; n++) if (!taken.has(`route-${n}`)) return `route-${n}`;
}
