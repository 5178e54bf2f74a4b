import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import type { Signal, Signals } from "../../lib/api";
import { announce, useProject } from "../../lib/page";
import { queryClient, signalsQuery } from "../../lib/query";
import { useRange } from "../../lib/useRange";

/** Which signals have data. Each signal that a page waits for refreshes the page when it comes. */
export function useSignals(...waiting: Signal[]): Signals | undefined {
  const { project } = useProject();
  const { refreshNow } = useRange();
  const { data } = useQuery(signalsQuery(project, waiting));
  const before = useRef<{ project: number; data: Signals } | undefined>(undefined);
  useEffect(() => {
    if (!data) return;
    const known = before.current;
    before.current = { project, data };
    if (known?.project !== project) return;
    const came = waiting.filter((one) => data[one].received && !known.data[one].received);
    if (came.length === 0) return;
    announce("The first event is here.");
    refreshNow();
    // What was answered before it came is not true any more, whatever its range.
    void queryClient.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "signals" && query.queryKey[1] === project });
  });
  return data;
}
