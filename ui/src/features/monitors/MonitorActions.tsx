import { useMutation } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Pause, Pencil, Play, Trash2 } from "lucide-react";
import { useState } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { ErrorNote } from "../../components/Page";
import { api, data, type Monitor } from "../../lib/api";
import { useKeys } from "../../lib/keys";
import { announce, useProject } from "../../lib/page";
import { queryClient } from "../../lib/query";

const route = getRouteApi("/p/$project/monitors/$slug");

/** What can be done with a monitor. */
export function MonitorActions({ monitor }: { monitor: Monitor }) {
  const { project, param } = useProject();
  const navigate = route.useNavigate();
  const [asking, setAsking] = useState(false);
  const paused = monitor.status === "paused";
  const path = { params: { path: { project, slug: monitor.slug } } };
  const changed = () => queryClient.invalidateQueries({ queryKey: ["monitors", project] });
  const toggle = useMutation({
    mutationFn: () => data(paused ? api.POST("/projects/{project}/monitors/{slug}/resume", path) : api.POST("/projects/{project}/monitors/{slug}/pause", path)),
    onSuccess: async () => {
      announce(paused ? "Resumed: it waits for its next check-in" : "Paused");
      await changed();
    },
  });
  const remove = useMutation({
    mutationFn: () => api.DELETE("/projects/{project}/monitors/{slug}", path),
    onSuccess: async () => {
      announce(`${monitor.slug} deleted`);
      await navigate({ to: "/p/$project/monitors" });
      queryClient.setQueriesData<Monitor[]>({ queryKey: ["monitors", project] }, (all) => all?.filter((one) => one.uuid !== monitor.uuid));
      await changed();
    },
  });
  useKeys({ e: () => void navigate({ to: "/p/$project/monitors/$slug/edit", params: { project: param, slug: monitor.slug } }) });
  return (
    <>
      <div className="flex flex-wrap items-center gap-2">
        <Link to="/p/$project/monitors/$slug/edit" params={{ project: param, slug: monitor.slug }} className={buttonClass()}>
          <Pencil size={14} aria-hidden /> Edit
        </Link>
        <Button disabled={toggle.isPending} onClick={() => toggle.mutate()}>
          {paused ? <Play size={14} aria-hidden /> : <Pause size={14} aria-hidden />}
          {paused ? "Resume" : "Pause"}
        </Button>
        <Button kind="ghost" onClick={() => setAsking(true)}>
          <Trash2 size={14} aria-hidden /> Delete
        </Button>
      </div>
      {toggle.error && <ErrorNote className="basis-full" error={toggle.error} />}
      {asking && (
        <Confirm label={`Delete ${monitor.name}?`} button="Delete monitor" busy="Deleting…" action={remove} onClose={() => setAsking(false)}>
          <p>Nothing is expected of this job any more, and its pings are refused unless they make a monitor. Its runs stay until they are too old, but are not shown.</p>
        </Confirm>
      )}
    </>
  );
}
