import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMemo, useState, type FormEvent } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Field } from "../../components/Field";
import { Await, ErrorNote, PageHead, Skeleton } from "../../components/Page";
import { api, ApiError, data, type Monitor } from "../../lib/api";
import { useKeys } from "../../lib/keys";
import { announce, useProject, useTitle } from "../../lib/page";
import { monitorsQuery, queryClient } from "../../lib/query";
import { runRange } from "../../lib/runs";
import { formOf, scheduleOf } from "../../lib/schedule";
import { useRange } from "../../lib/useRange";
import { here, ScheduleFields } from "./ScheduleFields";

const route = getRouteApi("/p/$project/monitors/$slug/edit");

export function EditMonitorPage() {
  const { project } = useProject();
  const { slug } = route.useParams();
  const { range, raw } = useRange();
  // Of when the form was opened: what is typed is not to be changed by what comes meanwhile.
  const [looked] = useState(() => runRange(raw, range));
  const options = useMemo(() => monitorsQuery(project, looked), [project, looked]);
  const query = useQuery(options);
  useTitle(`Edit ${slug}`, "Monitors");
  return (
    <div className="mx-auto max-w-160 pb-10">
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={10} />}>
        {(all) => {
          const found = all.find((one) => one.slug === slug);
          return found ? <Form key={found.uuid} monitor={found} /> : <ErrorNote className="m-4" error={new ApiError("not_found", `There is no monitor ${slug} in this project.`)} />;
        }}
      </Await>
    </div>
  );
}

function Form({ monitor }: { monitor: Monitor }) {
  const { project, param } = useProject();
  const navigate = route.useNavigate();
  const [name, setName] = useState(monitor.name);
  const [form, setForm] = useState(() => formOf(monitor.schedule, here));
  const back = () => navigate({ to: "/p/$project/monitors/$slug", params: { project: param, slug: monitor.slug } });
  useKeys({ Escape: () => void back() });
  const save = useMutation({
    mutationFn: () =>
      data(api.PATCH("/projects/{project}/monitors/{slug}", { params: { path: { project, slug: monitor.slug } }, body: { name: name.trim(), schedule: scheduleOf(form) } })),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: ["monitors", project] });
      announce("Monitor saved");
      await back();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    save.mutate();
  };
  return (
    <>
      <PageHead title={`Edit ${monitor.name}`} under="What another schedule expects counts from now on. A sender that tells its own schedule with its check-ins changes it again." />
      <form onSubmit={submit} className="flex flex-col gap-5 px-4">
        <Field label="Name" maxLength={200} autoFocus value={name} onChange={(event) => setName(event.target.value)} placeholder={monitor.slug} />
        <ScheduleFields value={form} onChange={setForm} />
        {save.error && <ErrorNote error={save.error} />}
        <div className="flex gap-2">
          <Button type="submit" kind="primary" disabled={save.isPending}>
            {save.isPending ? "Saving…" : "Save monitor"}
          </Button>
          <Link to="/p/$project/monitors/$slug" params={{ project: param, slug: monitor.slug }} className={buttonClass("ghost")}>
            Cancel
          </Link>
        </div>
      </form>
    </>
  );
}
