import { queryOptions } from "@tanstack/react-query";
import { api, data } from "../../lib/api";

export const receiversQuery = (project: number) =>
  queryOptions({
    queryKey: ["receivers", project],
    queryFn: async ({ signal }) => (await data(api.GET("/projects/{project}/receivers", { params: { path: { project } }, signal }))).receivers,
    refetchInterval: 30_000,
  });

export const deliveryQuery = (project: number, key: string) =>
  queryOptions({
    queryKey: ["delivery", project, key],
    queryFn: ({ signal }) => data(api.GET("/projects/{project}/deliveries/{key}", { params: { path: { project, key } }, signal })),
    // What is on its way is looked at until it has arrived.
    refetchInterval: (query) => (["due", "sending"].includes(query.state.data?.delivery.state ?? "") ? 1500 : false),
    staleTime: 1000,
  });
