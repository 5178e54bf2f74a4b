import { queryOptions } from "@tanstack/react-query";
import { api, data } from "./api";
import { edges } from "./query";
import type { Range } from "./range";
import { second } from "./time";

// What the pages for people on call ask for. Things of the organisation are asked for by way of a project.

const of = (project: number) => ({ params: { path: { project } } });

export const incidentsQuery = (project: number, range: Range) =>
  queryOptions({
    queryKey: ["incidents", project, range.from, range.to],
    queryFn: async ({ signal }) =>
      (await data(api.GET("/projects/{project}/incidents", { params: { path: { project }, query: { ...edges(range), limit: 1000 } }, signal }))).incidents,
  });

/** Those that need a person now, for the whole frame. */
export const openIncidentsQuery = (project: number) =>
  queryOptions({
    queryKey: ["incidents", project, "open"],
    queryFn: async ({ signal }) =>
      (await data(api.GET("/projects/{project}/incidents", { params: { path: { project }, query: { state: "open", from: new Date(0).toISOString(), limit: 200 } }, signal }))).incidents,
    refetchInterval: 15 * second,
  });

export const incidentQuery = (project: number, incident: string) =>
  queryOptions({
    queryKey: ["incident", project, incident],
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/incidents/{incident}", { params: { path: { project, incident } }, signal })),
    staleTime: 5 * second,
    refetchInterval: (query) => (query.state.data?.incident.state === "open" ? 10 * second : 60 * second),
  });

export const teamsQuery = (project: number) =>
  queryOptions({
    queryKey: ["teams", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/teams", { ...of(project), signal }))).teams,
  });

export const peopleQuery = (project: number) =>
  queryOptions({
    queryKey: ["people", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/people", { ...of(project), signal }))).people,
  });

export const schedulesQuery = (project: number) =>
  queryOptions({
    queryKey: ["schedules", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/schedules", { ...of(project), signal }))).schedules,
  });

export const shiftsQuery = (project: number, id: string, range: Range) =>
  queryOptions({
    queryKey: ["shifts", project, id, range.from, range.to],
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/schedules/{id}/shifts", { params: { path: { project, id }, query: edges(range) }, signal })),
  });

export const policiesQuery = (project: number) =>
  queryOptions({
    queryKey: ["policies", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/policies", { ...of(project), signal }))).policies,
  });

/** The receivers by id and name: for those who choose among them. */
export const receiverNamesQuery = (project: number) =>
  queryOptions({
    queryKey: ["receiver-names", project],
    queryFn: async ({ signal }) =>
      (await data(api.GET("/projects/{project}/receivers", { ...of(project), signal }))).receivers.map(({ receiver }) => ({ id: receiver.id, name: receiver.name, kind: receiver.kind })),
  });

export const silencesQuery = (project: number) =>
  queryOptions({
    queryKey: ["silences", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/silences", { ...of(project), signal }))).silences,
    refetchInterval: 30 * second,
  });

export const windowsQuery = (project: number) =>
  queryOptions({
    queryKey: ["windows", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/windows", { ...of(project), signal }))).windows,
    refetchInterval: 60 * second,
  });

export const digestQuery = (project: number, team: string | undefined) =>
  queryOptions({
    queryKey: ["digest", project, team],
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/digest", { params: { path: { project }, query: { team } }, signal })),
    refetchInterval: 60 * second,
  });
