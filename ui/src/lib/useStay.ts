import { useState } from "react";

interface Result<T> {
  data: T | undefined;
  error: Error | null;
  isPlaceholderData: boolean;
}

/**
 * Keeps what a query last answered when the next one fails: a live range is another query each time that it moves on,
 * and one that fails must not empty the page. asked names what was asked for, without the time; an answer to something
 * else does not stay.
 */
export function useStay<T, Q extends Result<T>>(query: Q & Result<T>, asked: string): Q {
  const [last, setLast] = useState<{ asked: string; data: T } | undefined>(undefined);
  const { data, error, isPlaceholderData } = query;
  if (data !== undefined && !isPlaceholderData && (last?.data !== data || last.asked !== asked)) setLast({ asked, data });
  if (data === undefined && error && last?.asked === asked) return { ...query, data: last.data, isPlaceholderData: true };
  return query;
}
