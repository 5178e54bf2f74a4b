import { useMutation } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Field } from "../../components/Field";
import { ErrorNote, PageHead } from "../../components/Page";
import { api, ApiError, data, type NewMonitor } from "../../lib/api";
import { useProject, useTitle } from "../../lib/page";
import { queryClient } from "../../lib/query";
import { newForm, scheduleOf } from "../../lib/schedule";
import { slugFrom } from "../../lib/slug";
import { here, ScheduleFields } from "./ScheduleFields";

export function NewMonitorPage() {
  useTitle("New monitor");
  const { project, param } = useProject();
  const navigate = useNavigate();
  const [name, setName] = useState("");
  const [typedSlug, setSlug] = useState<string | undefined>(undefined);
  const [form, setForm] = useState(() => newForm(here));
  const slug = typedSlug ?? slugFrom(name, /[^a-z0-9_-]+/g);
  const slugOK = /^[a-z0-9_-]{1,100}$/.test(slug);

  const create = useMutation({
    mutationFn: () => {
      const body: NewMonitor = { slug, schedule: scheduleOf(form) };
      if (name.trim()) body.name = name.trim();
      return data(api.POST("/projects/{project}/monitors", { params: { path: { project } }, body }));
    },
    onSuccess: async (monitor) => {
      await queryClient.invalidateQueries({ queryKey: ["monitors", project] });
      await navigate({ to: "/p/$project/monitors/$slug", params: { project: param, slug: monitor.slug } });
    },
  });
  const taken = create.error instanceof ApiError && create.error.code === "conflict";
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (slugOK) create.mutate();
  };

  return (
    <div className="mx-auto max-w-160 pb-10">
      <PageHead title="New monitor" under="A monitor knows when a job should run, and notices when it did not, failed, or hangs." />
      <form onSubmit={submit} className="flex flex-col gap-5 px-4">
        <Field label="Name" maxLength={200} autoFocus value={name} onChange={(event) => setName(event.target.value)} placeholder="Nightly backup" />
        <Field
          label="Short name"
          required
          maxLength={100}
          value={slug}
          onChange={(event) => setSlug(event.target.value)}
          className="[&_input]:font-mono"
          hint="Stands in its ping URL: small letters, digits, hyphens and underscores."
          error={slug !== "" && !slugOK ? "Only small letters, digits, hyphens and underscores, at most 100." : taken ? "This project has a monitor with this short name." : undefined}
        />
        <ScheduleFields value={form} onChange={setForm} />
        {create.error && !taken && <ErrorNote error={create.error} />}
        <div className="flex gap-2">
          <Button type="submit" kind="primary" disabled={create.isPending || !slugOK}>
            {create.isPending ? "Making it…" : "Make monitor"}
          </Button>
          <Link to="/p/$project/monitors" params={{ project: param }} className={buttonClass("ghost")}>
            Cancel
          </Link>
        </div>
      </form>
    </div>
  );
}
