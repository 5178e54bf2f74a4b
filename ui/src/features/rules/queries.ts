import { queryOptions } from "@tanstack/react-query";
import { api, data } from "../../lib/api";
import { day } from "../../lib/time";

export const rulesQuery = (project: number) =>
  queryOptions({
    queryKey: ["rules", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/rules", { params: { path: { project } }, signal }))).rules,
    refetchInterval: 30_000,
  });

export const teamsQuery = (project: number) =>
  queryOptions({
    queryKey: ["teams", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/teams", { params: { path: { project } }, signal }))).teams,
  });

export const policiesQuery = (project: number) =>
  queryOptions({
    queryKey: ["policies", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/policies", { params: { path: { project } }, signal }))).policies,
  });

/** What a form offers to choose from: what was there in the last day. The hour in the key lets it be asked again. */
const lastDay = () => {
  const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
  return { from: new Date(hour - day).toISOString(), to: new Date(hour + 3_600_000).toISOString() };
};

export const servicesQuery = (project: number) => {
  const range = lastDay();
  return queryOptions({
    queryKey: ["services", project, range.to],
    queryFn: async ({ signal }) =>
      (await data(api.GET("/projects/{project}/logs/histogram", { params: { path: { project }, query: range }, signal }))).services.map((one) => one.service).filter(Boolean),
    staleTime: 5 * 60_000,
  });
};

export const metricNamesQuery = (project: number) => {
  const range = lastDay();
  return queryOptions({
    queryKey: ["metric-names", project, range.to],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/metrics", { params: { path: { project }, query: range }, signal }))).metrics,
    staleTime: 5 * 60_000,
  });
};

export const monitorNamesQuery = (project: number) => {
  const range = lastDay();
  return queryOptions({
    queryKey: ["monitor-names", project, range.to],
    queryFn: async ({ signal }) =>
      (await data(api.GET("/projects/{project}/monitors", { params: { path: { project }, query: range }, signal }))).monitors.map((one) => one.slug),
    staleTime: 5 * 60_000,
  });
};
