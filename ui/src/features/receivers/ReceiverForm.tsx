import { useMutation } from "@tanstack/react-query";
import { KeyRound, TriangleAlert } from "lucide-react";
import { useId, useState, type FormEvent } from "react";
import { Button, CopyButton } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Field, fieldClass } from "../../components/Field";
import { ErrorNote } from "../../components/Page";
import { api, ApiError, data, type Receiver, type ReceiverKind, type StoredReceiver } from "../../lib/api";
import { announce, useProject } from "../../lib/page";
import { queryClient } from "../../lib/query";
import { ruleID } from "../rules/templates";
import { kinds, newSecret, settingsOf, typed, type Setting } from "./kinds";
import { receiversQuery } from "./queries";

/** What is asked of a receiver. Secrets come masked; what is not typed anew stays. */
export function ReceiverForm({ stored, kind, others, onClose, onSaved }: { stored: StoredReceiver | undefined; kind: ReceiverKind; others: readonly StoredReceiver[]; onClose: () => void; onSaved: (id: string) => void }) {
  const { project } = useProject();
  const [name, setName] = useState(stored?.receiver.name ?? "");
  const [form, setForm] = useState(() => (stored ? typed(stored.receiver) : {}));
  const [fallback, setFallback] = useState(stored?.receiver.fallback ?? "");
  const [count, setCount] = useState(stored?.receiver.limit ? String(stored.receiver.limit.count) : "");
  const [per, setPer] = useState(stored?.receiver.limit?.per ?? "");
  const [secret, setSecret] = useState<string | undefined>(undefined);
  const [asking, setAsking] = useState(false);
  const fallbackID = useId();
  const { about, warning, settings, limit } = kinds[kind];
  const id = stored?.receiver.id ?? ruleID(name);
  const taken = !stored && others.some((one) => one.receiver.id === id);
  const saved = () => queryClient.invalidateQueries({ queryKey: receiversQuery(project).queryKey });

  const save = useMutation({
    mutationFn: () => {
      const body: Receiver = { ...stored?.receiver, id, name: name.trim(), kind, settings: settingsOf(kind, stored?.receiver.settings ?? {}, form) };
      if (fallback) body.fallback = fallback;
      else delete body.fallback;
      if (count.trim() !== "") body.limit = { count: Number(count), per: per.trim() || "1m" };
      else delete body.limit;
      return data(api.PUT("/projects/{project}/receivers/{id}", { params: { path: { project, id }, query: { version: stored?.meta.version ?? 0 } }, body }));
    },
    onSuccess: async () => {
      announce("Receiver saved");
      await saved();
      onSaved(id);
    },
  });
  const remove = useMutation({
    mutationFn: () => api.DELETE("/projects/{project}/receivers/{id}", { params: { path: { project, id } } }),
    onSuccess: async () => {
      announce("Receiver deleted");
      onClose();
      await saved();
    },
  });
  const problems = save.error instanceof ApiError ? save.error.problems : [];
  const wrong = (field: string) => problems.find((one) => one.field === field || one.field === `settings.${field}` || (one.field === "settings" && one.message.startsWith(`${field}:`)))?.message;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!taken) save.mutate();
  };
  const make = () => {
    const fresh = newSecret();
    setSecret(fresh);
    setForm((was) => ({ ...was, secrets: [was.secrets, fresh].filter(Boolean).join(", ") }));
  };
  return (
    <form onSubmit={submit} className="flex flex-col gap-4 p-4">
      <p className="text-data text-muted">{about}</p>
      {warning && (
        <p className="flex items-start gap-2 text-data text-warn">
          <TriangleAlert size={15} className="mt-0.5 shrink-0" aria-hidden /> {warning}
        </p>
      )}
      <Field label="Name" required maxLength={100} autoFocus={!stored} value={name} onChange={(event) => setName(event.target.value)} placeholder="On-call channel" error={taken ? "There is a receiver with this name." : wrong("name")} hint={stored && <>Id <code className="font-mono">{id}</code></>} />
      {settings.map((one) => (
        <SettingField key={one.name} setting={one} value={form[one.name] ?? ""} error={wrong(one.name)} onChange={(value) => setForm({ ...form, [one.name]: value })} />
      ))}
      {kind === "webhook" && (
        <div className="-mt-2 flex flex-col gap-2">
          <Button className="self-start" onClick={make}>
            <KeyRound size={14} aria-hidden /> Make a signing secret
          </Button>
          {secret && (
            <div className="rounded border border-line bg-bg p-2.5">
              <p className="text-data text-warn">Copy it now: after saving only its end is shown.</p>
              <div className="mt-1 flex items-center justify-between gap-2">
                <code className="font-mono text-data wrap-anywhere">{secret}</code>
                <CopyButton text={secret} />
              </div>
            </div>
          )}
        </div>
      )}
      <div>
        <label htmlFor={fallbackID} className="mb-1 block text-data">
          Where it cannot be told, tell
        </label>
        <select id={fallbackID} value={fallback} onChange={(event) => setFallback(event.target.value)} className={fieldClass}>
          <option value="">nobody else</option>
          {others
            .filter((one) => one.receiver.id !== id)
            .map((one) => (
              <option key={one.receiver.id} value={one.receiver.id}>
                {one.receiver.name}
              </option>
            ))}
        </select>
        <p className={`mt-1 text-data ${wrong("fallback") ? "text-bad" : "text-muted"}`}>{wrong("fallback") ?? "After two minutes in which a page could not be delivered."}</p>
      </div>
      <div className="grid grid-cols-2 gap-3">
        <Field label="At most (messages)" type="number" min={1} max={10_000} value={count} onChange={(event) => setCount(event.target.value)} placeholder={limit} error={wrong("limit")} />
        <Field label="in" value={per} maxLength={20} onChange={(event) => setPer(event.target.value)} placeholder="5m" disabled={count.trim() === ""} />
      </div>
      <p className="-mt-3 text-data text-muted">Empty is {limit}. What is more is folded into one message, never dropped.</p>
      {save.error && <ErrorNote error={save.error} />}
      {problems
        .filter((one) => !settings.some((setting) => wrong(setting.name) === one.message) && !["name", "fallback", "limit"].includes(one.field))
        .map((one) => (
          <p key={one.field + one.message} className="text-data text-bad">
            {one.field}: {one.message}
          </p>
        ))}
      <div className="flex flex-wrap gap-2">
        <Button type="submit" kind="primary" disabled={save.isPending || name.trim() === "" || taken}>
          {save.isPending ? "Saving…" : "Save receiver"}
        </Button>
        <Button kind="ghost" onClick={onClose}>
          Cancel
        </Button>
        {stored && (
          <Button kind="ghost" className="ml-auto" onClick={() => setAsking(true)}>
            Delete
          </Button>
        )}
      </div>
      {asking && stored && (
        <Confirm label={`Delete ${stored.receiver.name}?`} button="Delete receiver" busy="Deleting…" action={remove} blocked={stored.used_by.length > 0} onClose={() => setAsking(false)}>
          {stored.used_by.length > 0 ? (
            <>
              <p>It is still named by:</p>
              <ul className="mt-1 list-disc pl-5">
                {stored.used_by.map((one) => (
                  <li key={one}>{one}</li>
                ))}
              </ul>
              <p className="mt-2 text-muted">Let them name another one first.</p>
            </>
          ) : (
            <p>Nobody names it. What is on its way to it is not sent any more.</p>
          )}
        </Confirm>
      )}
    </form>
  );
}

function SettingField({ setting, value, error, onChange }: { setting: Setting; value: string; error: string | undefined; onChange: (value: string) => void }) {
  const id = useId();
  const { label, hint, choices, secret, required, placeholder } = setting;
  if (choices) {
    return (
      <div>
        <label htmlFor={id} className="mb-1 block text-data">
          {label}
        </label>
        <select id={id} value={value} onChange={(event) => onChange(event.target.value)} className={fieldClass}>
          {choices.map(([one, name]) => (
            <option key={one} value={one}>
              {name}
            </option>
          ))}
        </select>
      </div>
    );
  }
  const masked = secret && value.includes("…");
  return (
    <Field
      label={label}
      required={required === true}
      value={value}
      placeholder={placeholder}
      error={error}
      hint={masked ? "As it was saved; type another to replace it." : hint}
      autoComplete="off"
      spellCheck={false}
      maxLength={2000}
      className={secret ? "[&_input]:font-mono" : ""}
      onChange={(event) => onChange(event.target.value)}
      onFocus={(event) => masked && event.currentTarget.select()}
    />
  );
}
