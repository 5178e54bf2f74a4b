import { queryOptions, QueryClient } from "@tanstack/react-query";
import { api, ApiError, data, type Signals } from "./api";
import type { Range } from "./range";

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // Ranges end at a second that stands for now; the same key asked again soon has the same answer.
      staleTime: 60_000,
      gcTime: 120_000,
      refetchOnWindowFocus: false,
      retry: (failures, error) => failures < 2 && error instanceof ApiError && (error.code === "unreachable" || error.code === "unavailable"),
      retryDelay: (failures) => 500 * 2 ** failures,
    },
  },
});

/** A range as the API takes it. */
export function edges(range: Range): { from: string; to: string } {
  return { from: new Date(range.from).toISOString(), to: new Date(range.to).toISOString() };
}

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: ({ signal }) => data(api.GET("/session", { signal })),
  staleTime: 5 * 60_000,
  gcTime: Number.POSITIVE_INFINITY,
});

export const setupQuery = (project: number) =>
  queryOptions({
    queryKey: ["setup", project],
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/setup", { params: { path: { project } }, signal })),
    staleTime: 5 * 60_000,
  });

export const retentionQuery = (project: number) =>
  queryOptions({
    queryKey: ["retention", project],
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/retention", { params: { path: { project } }, signal })),
  });

export const badgesQuery = (project: number) =>
  queryOptions({
    queryKey: ["badges", project],
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/badges", { params: { path: { project } }, signal })),
  });

export const noticesQuery = (project: number) =>
  queryOptions({
    queryKey: ["notices", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/notices", { params: { path: { project } }, signal }))).notices,
    refetchInterval: 5 * 60_000,
  });

/** Asked every two seconds as long as one of the signals that the page waits for has not come. */
export const signalsQuery = (project: number, waiting: (keyof Signals)[]) =>
  queryOptions({
    queryKey: ["signals", project],
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/signals", { params: { path: { project } }, signal })),
    staleTime: 5 * 60_000,
    refetchInterval: (query) => (query.state.data && waiting.every((one) => query.state.data?.[one].received) ? false : 2000),
  });

export const monitorsQuery = (project: number, range: Range) =>
  queryOptions({
    queryKey: ["monitors", project, range.from, range.to],
    queryFn: async ({ signal }) =>
      (await data(api.GET("/projects/{project}/monitors", { params: { path: { project }, query: edges(range) }, signal }))).monitors,
  });
