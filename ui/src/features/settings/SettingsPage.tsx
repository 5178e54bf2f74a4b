import { useMutation, useQuery } from "@tanstack/react-query";
import { useId, useState, type FormEvent } from "react";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { fieldClass } from "../../components/Field";
import { Await, ErrorNote, PageHead, Panel } from "../../components/Page";
import { api, data, type Retention, type RetentionDays } from "../../lib/api";
import { announce, useAnswer, useProject, useTitle } from "../../lib/page";
import { queryClient, retentionQuery } from "../../lib/query";
import { daysWords, deletes, deletesSentence, kept, retentionSentence } from "../../lib/retention";
import { BadgesPanel } from "./BadgesPanel";

export function SettingsPage() {
  const { project } = useProject();
  const asked = retentionQuery(project);
  const retention = useQuery(asked);
  const sentence = retention.data && retentionSentence(retention.data.days);
  useTitle("Project settings");
  useAnswer(sentence, String(project));
  return (
    <div className="max-w-230 pb-8">
      <PageHead title={sentence ?? "Project settings"} />
      <div className="px-4">
        <Await query={retention} queryKey={asked.queryKey}>
          {(found) => <RetentionForm key={project} found={found} />}
        </Await>
        <BadgesPanel key={project} />
      </div>
    </div>
  );
}

function RetentionForm({ found }: { found: Retention }) {
  const { project } = useProject();
  const [chosen, setChosen] = useState<Partial<RetentionDays>>({});
  const [asking, setAsking] = useState(false);
  const days = { ...found.days, ...chosen };
  const changed = kept.some(({ signal }) => days[signal] !== found.days[signal]);
  const losing = deletes(found.days, days);
  const save = useMutation({
    mutationFn: () => data(api.PUT("/projects/{project}/retention", { params: { path: { project } }, body: days })),
    onSuccess: (answer) => {
      queryClient.setQueryData(retentionQuery(project).queryKey, answer);
      setChosen({});
      announce("Retention saved");
      setAsking(false);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (losing.length > 0) setAsking(true);
    else save.mutate();
  };
  return (
    <Panel title="Retention">
      <form onSubmit={submit} className="flex flex-col">
        <p className="px-4 pt-3 text-data text-muted">
          What is older is deleted for good. A shorter time also deletes what is stored, within the hour; a longer one holds for what arrives from now on. What is older than this
          when it arrives is refused. Errors and check-ins that are kept for 30 days or longer go week by week.
        </p>
        <div className="grid gap-x-6 gap-y-4 p-4 sm:grid-cols-2">
          {kept.map((one) => (
            <DaysSelect
              key={one.signal}
              label={one.name}
              hint={one.hint}
              choices={found.choices}
              value={days[one.signal]}
              onChange={(value) => setChosen({ ...chosen, [one.signal]: value })}
            />
          ))}
        </div>
        {save.error && !asking && <ErrorNote className="mx-4 mb-4" error={save.error} />}
        <div className="flex flex-wrap items-center gap-x-3 gap-y-2 border-t border-line px-4 py-3">
          <Button type="submit" kind="primary" disabled={!changed || save.isPending}>
            {save.isPending ? "Saving…" : "Save retention"}
          </Button>
          {changed && (
            <Button kind="ghost" onClick={() => setChosen({})}>
              Discard
            </Button>
          )}
          {losing.length > 0 && <p className="text-data text-bad">Deletes {deletesSentence(found.days, days)}.</p>}
        </div>
      </form>
      {asking && (
        <Confirm label="Delete what is older?" button="Save and delete" busy="Saving…" action={save} onClose={() => setAsking(false)}>
          <p>This deletes {deletesSentence(found.days, days)}. It cannot be undone.</p>
        </Confirm>
      )}
    </Panel>
  );
}

function DaysSelect({ label, hint, choices, value, onChange }: { label: string; hint: string; choices: number[]; value: number; onChange: (days: number) => void }) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-data">
        {label}
      </label>
      <select id={id} aria-describedby={`${id}-more`} value={value} onChange={(event) => onChange(Number(event.target.value))} className={fieldClass}>
        {choices.map((days) => (
          <option key={days} value={days}>
            {daysWords(days)}
          </option>
        ))}
      </select>
      <p id={`${id}-more`} className="mt-1 text-data text-muted">
        {hint}
      </p>
    </div>
  );
}
