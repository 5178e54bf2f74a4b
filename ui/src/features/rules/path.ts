/**
 * The fields of a rule go by the paths that the API names in its problems, such as levels[0].fire: the form reads,
 * writes and shows what is wrong by the same name.
 */

type Step = string | number;

export function steps(path: string): Step[] {
  const out: Step[] = [];
  for (const part of path.split(".")) {
    const [name = "", ...indices] = part.split("[");
    if (name !== "") out.push(name);
    for (const index of indices) out.push(Number(index.slice(0, -1)));
  }
  return out;
}

/** What stands at the path; undefined where there is nothing. */
export function at(value: unknown, path: string): unknown {
  let here = value;
  for (const step of steps(path)) {
    if (typeof here !== "object" || here === null) return undefined;
    here = (here as Record<Step, unknown>)[step];
  }
  return here;
}

/**
 * A copy with another value at the path. undefined takes the field away, and what holds nothing any more goes with it,
 * so that a rule names only what a person chose.
 */
export function put<T>(value: T, path: string, next: unknown): T {
  return (set(value, steps(path), next) ?? {}) as T;
}

function set(value: unknown, path: readonly Step[], next: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return next;
  if (typeof step === "number") {
    const copy = Array.isArray(value) ? [...(value as unknown[])] : [];
    const inner = set(copy[step], rest, next);
    if (inner === undefined) copy.splice(step, 1);
    else copy[step] = inner;
    return copy.length === 0 ? undefined : copy;
  }
  const copy: Record<string, unknown> = { ...(value as Record<string, unknown> | undefined) };
  const inner = set(copy[step], rest, next);
  if (inner === undefined) delete copy[step];
  else copy[step] = inner;
  return Object.keys(copy).length === 0 ? undefined : copy;
}

/** Whether a problem's field is the path or something inside of it. */
export function within(field: string, path: string): boolean {
  return field === path || (field.startsWith(path) && /^[.[]/.test(field.slice(path.length)));
}
