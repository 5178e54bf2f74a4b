import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import type { LogsAddress } from "../../lib/addresses";
import { api, data } from "../../lib/api";
import { useProject } from "../../lib/page";
import { edges } from "../../lib/query";
import type { Range } from "../../lib/range";
import { useStay } from "../../lib/useStay";

export const pageSize = 200;

interface Filter {
  q: string | undefined;
  level: LogsAddress["level"];
  service: string[] | undefined;
}

export function useLines(range: Range, filter: Filter) {
  const { project } = useProject();
  const queryKey = ["logs", project, range.from, range.to, filter];
  const query = useInfiniteQuery({
    queryKey,
    queryFn: ({ signal, pageParam }) =>
      data(
        api.GET("/projects/{project}/logs", {
          params: { path: { project }, query: { ...edges(range), ...filter, limit: pageSize, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: keepPreviousData,
  });
  return { ...useStay(query, JSON.stringify([project, filter])), queryKey };
}

export function useHistogram(range: Range, filter: Filter, enabled = true) {
  const { project } = useProject();
  const queryKey = ["log-histogram", project, range.from, range.to, filter];
  const query = useQuery({
    queryKey,
    queryFn: ({ signal }) =>
      data(api.GET("/projects/{project}/logs/histogram", { params: { path: { project }, query: { ...edges(range), ...filter } }, signal })),
    placeholderData: keepPreviousData,
    enabled,
  });
  return { ...useStay(query, JSON.stringify([project, filter])), queryKey };
}
