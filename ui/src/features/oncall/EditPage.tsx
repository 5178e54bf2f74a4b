import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { ErrorNote, Skeleton } from "../../components/Page";
import { peopleQuery, policiesQuery, receiverNamesQuery, schedulesQuery, teamsQuery } from "../../lib/alerting";
import { api, ApiError, data, type OncallSchedule, type Person, type Policy, type Team } from "../../lib/api";
import { idFrom, layerWords, minutesOf } from "../../lib/oncall";
import { useProject } from "../../lib/page";
import { Field } from "../../components/Field";
import { here, HoursField, PickList, SelectField, ZoneField, type Choice } from "./fields";
import { FormFrame } from "./FormFrame";
import { kinds, type Kind } from "./kinds";
import { Layers, newLayer } from "./Layers";
import { Steps } from "./Steps";

const edit = getRouteApi("/p/$project/oncall/$kind/$id");
const fresh = getRouteApi("/p/$project/new-oncall/$kind");

export function EditPage() {
  const { kind, id } = edit.useParams();
  return <Editor key={`${kind} ${id}`} kind={kind} id={id} />;
}

export function NewPage() {
  const { kind } = fresh.useParams();
  return <Editor key={kind} kind={kind} id={undefined} />;
}

interface Known {
  people: Choice[];
  receivers: Choice[];
  schedules: Choice[];
  policies: Choice[];
}

function Editor({ kind, id }: { kind: string; id: string | undefined }) {
  const { project } = useProject();
  const teams = useQuery(teamsQuery(project));
  const people = useQuery(peopleQuery(project));
  const schedules = useQuery(schedulesQuery(project));
  const policies = useQuery(policiesQuery(project));
  const receivers = useQuery(receiverNamesQuery(project));
  const asked = [teams, people, schedules, policies, receivers];
  const failed = asked.find((one) => one.error);
  if (!kinds.includes(kind as Kind)) return <Missing>There is nothing of that kind.</Missing>;
  if (failed?.error) return <ErrorNote className="m-4" error={failed.error} retry={() => asked.forEach((one) => void one.refetch())} />;
  if (!teams.data || !people.data || !schedules.data || !policies.data || !receivers.data) return <Skeleton rows={10} />;
  const known: Known = {
    people: people.data.map(({ person }) => ({ id: person.id, name: person.name })),
    receivers: receivers.data,
    schedules: schedules.data.map(({ schedule }) => ({ id: schedule.id, name: schedule.name })),
    policies: policies.data.map(({ policy }) => ({ id: policy.id, name: policy.name })),
  };
  const missing = <Missing>There is no {id}; it may have been removed.</Missing>;
  switch (kind as Kind) {
    case "schedules": {
      const found = schedules.data.find((one) => one.schedule.id === id);
      return id && !found ? missing : <ScheduleForm known={known} stored={found && { value: found.schedule, version: found.meta.version, usedBy: found.used_by }} />;
    }
    case "people": {
      const found = people.data.find((one) => one.person.id === id);
      return id && !found ? missing : <PersonForm known={known} stored={found && { value: found.person, version: found.meta.version, usedBy: found.used_by }} />;
    }
    case "teams": {
      const found = teams.data.find((one) => one.team.id === id);
      return id && !found ? missing : <TeamForm known={known} stored={found && { value: found.team, version: found.meta.version, usedBy: found.used_by }} />;
    }
    case "policies": {
      const found = policies.data.find((one) => one.policy.id === id);
      return id && !found ? missing : <PolicyForm known={known} stored={found && { value: found.policy, version: found.meta.version, usedBy: found.used_by }} />;
    }
  }
}

function Missing({ children }: { children: ReactNode }) {
  return <ErrorNote className="m-4" error={new ApiError("not_found", [children].flat().join(""))} />;
}

interface Stored<T> {
  value: T;
  version: number;
  usedBy: string[];
}

interface FormProps<T> {
  known: Known;
  stored: Stored<T> | undefined;
}

/** The form's value, and what is sent: the id of a new thing comes from its name. */
function useForm<T extends { id: string; name: string }>(stored: Stored<T> | undefined, first: T) {
  // Of when the form was opened: what is typed is not to be changed by what comes meanwhile.
  const [opened] = useState(stored);
  const [value, setValue] = useState<T>(opened?.value ?? first);
  const set = (change: Partial<T>) => setValue((was) => ({ ...was, ...change }));
  const id = opened ? opened.value.id : idFrom(value.name);
  return { opened, value, set, id, body: { ...value, id, name: value.name.trim() }, version: opened?.version ?? 0 };
}

function NameField({ value, onChange, id, isNew, placeholder }: { value: string; onChange: (name: string) => void; id: string; isNew: boolean; placeholder: string }) {
  return <Field label="Name" required maxLength={100} autoFocus={isNew} value={value} placeholder={placeholder} onChange={(event) => onChange(event.target.value)} hint={id ? `Its id ${isNew ? "will be" : "is"} ${id}.` : undefined} />;
}

function ScheduleForm({ known, stored }: FormProps<OncallSchedule>) {
  const { project } = useProject();
  const form = useForm<OncallSchedule>(stored, { id: "", name: "", layers: [newLayer(here)], overrides: [] });
  const { value, set } = form;
  const name = (id: string) => known.people.find((one) => one.id === id)?.name ?? id;
  return (
    <FormFrame
      kind="schedules"
      name={form.opened?.value.name}
      under={value.layers?.map((one) => `${layerWords(one, name)}.`).join(" ")}
      usedBy={form.opened?.usedBy ?? []}
      save={() => data(api.PUT("/projects/{project}/schedules/{id}", { params: { path: { project, id: form.id }, query: { version: form.version } }, body: form.body }))}
      remove={() => api.DELETE("/projects/{project}/schedules/{id}", { params: { path: { project, id: form.id } } })}
    >
      <NameField value={value.name} onChange={(next) => set({ name: next })} id={form.id} isNew={!form.opened} placeholder="Platform" />
      <Layers value={value.layers ?? []} people={known.people} onChange={(layers) => set({ layers })} />
    </FormFrame>
  );
}

function PersonForm({ known, stored }: FormProps<Person>) {
  const { project } = useProject();
  const form = useForm<Person>(stored, { id: "", name: "", email: "", zone: here, contacts: [], quiet_hours: [] });
  const { value, set } = form;
  return (
    <FormFrame
      kind="people"
      name={form.opened?.value.name}
      usedBy={form.opened?.usedBy ?? []}
      save={() => data(api.PUT("/projects/{project}/people/{id}", { params: { path: { project, id: form.id }, query: { version: form.version } }, body: form.body }))}
      remove={() => api.DELETE("/projects/{project}/people/{id}", { params: { path: { project, id: form.id } } })}
    >
      <NameField value={value.name} onChange={(next) => set({ name: next })} id={form.id} isNew={!form.opened} placeholder="Ada Lovelace" />
      <Field label="E-mail address" type="email" maxLength={254} value={value.email} onChange={(event) => set({ email: event.target.value })} hint="Who signs in with it acts on incidents under this name." />
      <ZoneField value={value.zone} onChange={(zone) => set({ zone })} />
      <PickList
        label="Told by"
        hint="In order: the next is used where one does not deliver."
        ordered
        value={(value.contacts ?? []).map((one) => one.receiver)}
        choices={known.receivers}
        onChange={(ids) => set({ contacts: ids.map((receiver) => ({ receiver })) })}
      />
      <HoursField label="Quiet hours" hint="Tickets and mails wait for their end; pages do not." value={value.quiet_hours ?? []} onChange={(quiet_hours) => set({ quiet_hours })} />
    </FormFrame>
  );
}

const digestDays: Choice[] = [
  { id: "working", name: "on working days" },
  { id: "daily", name: "each day" },
  { id: "weekly", name: "on Mondays" },
  { id: "off", name: "never" },
];

function TeamForm({ known, stored }: FormProps<Team>) {
  const { project } = useProject();
  const form = useForm<Team>(stored, { id: "", name: "", zone: here, quiet_hours: [], digest: { at: "08:30", days: "working" }, policy: "", members: [] });
  const { value, set } = form;
  const days = value.digest.days || "working";
  return (
    <FormFrame
      kind="teams"
      name={form.opened?.value.name}
      usedBy={form.opened?.usedBy ?? []}
      save={() => data(api.PUT("/projects/{project}/teams/{id}", { params: { path: { project, id: form.id }, query: { version: form.version } }, body: form.body }))}
      remove={() => api.DELETE("/projects/{project}/teams/{id}", { params: { path: { project, id: form.id } } })}
    >
      <NameField value={value.name} onChange={(next) => set({ name: next })} id={form.id} isNew={!form.opened} placeholder="Platform" />
      <ZoneField value={value.zone} onChange={(zone) => set({ zone })} hint="In which its quiet hours and its digest are meant." />
      <SelectField label="Pages go by" value={value.policy} choices={known.policies} none="No policy" onChange={(policy) => set({ policy })} hint="For incidents whose route names no other policy." />
      <PickList label="Tickets go to" hint="Empty: to those of the policy's first step." value={value.tickets ?? []} choices={known.receivers} onChange={(tickets) => set({ tickets })} />
      <PickList label="Mails go to" hint="Empty: they are lines of the digest." value={value.mails ?? []} choices={known.receivers} onChange={(mails) => set({ mails })} />
      <div className="grid grid-cols-2 gap-4">
        <SelectField label="Digest" value={days} choices={digestDays} onChange={(next) => set({ digest: { ...value.digest, days: next as Team["digest"]["days"] } })} />
        {days !== "off" && <Field label="at" type="time" required value={value.digest.at || "08:30"} onChange={(event) => set({ digest: { ...value.digest, at: event.target.value } })} />}
      </div>
      <PickList label="Members" value={value.members ?? []} choices={known.people} onChange={(members) => set({ members })} />
      <HoursField label="Quiet hours" hint="Tickets and mails wait for their end; pages do not, unless a rule says so." value={value.quiet_hours ?? []} onChange={(quiet_hours) => set({ quiet_hours })} />
    </FormFrame>
  );
}

function PolicyForm({ known, stored }: FormProps<Policy>) {
  const { project } = useProject();
  const form = useForm<Policy>(stored, { id: "", name: "", steps: [{ targets: [], ack_timeout: "5m" }], loops: 1, exhausted_receivers: [], repeat_exhausted: "30m" });
  const { value, set } = form;
  return (
    <FormFrame
      kind="policies"
      name={form.opened?.value.name}
      usedBy={form.opened?.usedBy ?? []}
      save={() => data(api.PUT("/projects/{project}/policies/{id}", { params: { path: { project, id: form.id }, query: { version: form.version } }, body: form.body }))}
      remove={() => api.DELETE("/projects/{project}/policies/{id}", { params: { path: { project, id: form.id } } })}
    >
      <NameField value={value.name} onChange={(next) => set({ name: next })} id={form.id} isNew={!form.opened} placeholder="Platform" />
      <Steps value={value.steps ?? []} schedules={known.schedules} people={known.people} receivers={known.receivers} onChange={(steps) => set({ steps })} />
      <Field
        label="Gone through"
        type="number"
        required
        min={1}
        max={10}
        value={value.loops || 1}
        onChange={(event) => set({ loops: Number(event.target.value) })}
        hint="How many times over, as long as nobody acknowledges."
        className="max-w-48"
      />
      <PickList label="And if nobody ever does" hint="Who is told when all steps are used up." value={value.exhausted_receivers ?? []} choices={known.receivers} onChange={(exhausted_receivers) => set({ exhausted_receivers })} />
      {(value.exhausted_receivers ?? []).length > 0 && (
        <Field
          label="again every (minutes)"
          type="number"
          required
          min={1}
          max={1440}
          value={minutesOf(value.repeat_exhausted) || 30}
          onChange={(event) => set({ repeat_exhausted: `${event.target.value}m` })}
          className="max-w-48"
        />
      )}
    </FormFrame>
  );
}
