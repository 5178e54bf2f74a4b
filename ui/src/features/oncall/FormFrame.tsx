import { useMutation } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { Trash2 } from "lucide-react";
import { useState, type FormEvent, type ReactNode } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { ErrorNote, PageHead } from "../../components/Page";
import { useKeys } from "../../lib/keys";
import { announce, useProject, useTitle } from "../../lib/page";
import { queryClient } from "../../lib/query";
import { singular, type Kind } from "./kinds";

interface FrameProps {
  kind: Kind;
  /** Of the thing that is changed; undefined makes a new one. */
  name: string | undefined;
  under?: string | undefined;
  usedBy: string[];
  save: () => Promise<unknown>;
  remove: () => Promise<unknown>;
  children: ReactNode;
}

/** What all forms here have: a heading, saving, removing what nothing names, and the way back. */
export function FormFrame({ kind, name, under, usedBy, save, remove, children }: FrameProps) {
  const { project, param } = useProject();
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);
  const word = singular[kind];
  const title = name === undefined ? `New ${word}` : `Edit ${name}`;
  const tab = kind === "schedules" ? undefined : kind;
  const back = () => navigate({ to: "/p/$project/oncall", params: { project: param }, search: (was) => ({ from: was.from, to: was.to, refresh: was.refresh, tab }) });
  const changed = async (said: string) => {
    await Promise.all([kind, "shifts"].map((one) => queryClient.invalidateQueries({ queryKey: [one, project] })));
    announce(said);
    await back();
  };
  const keep = useMutation({ mutationFn: save, onSuccess: () => changed(`The ${word} is saved`) });
  const drop = useMutation({ mutationFn: remove, onSuccess: () => changed(`The ${word} is removed`) });
  useTitle(title, "On call");
  useKeys({ Escape: () => void back() });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    keep.mutate();
  };
  return (
    <div className="mx-auto max-w-160 pb-10">
      <PageHead title={title} under={under} />
      <form onSubmit={submit} className="flex flex-col gap-5 px-4">
        {children}
        {keep.error && <ErrorNote error={keep.error} />}
        <div className="flex flex-wrap gap-2">
          <Button type="submit" kind="primary" disabled={keep.isPending}>
            {keep.isPending ? "Saving…" : `Save ${word}`}
          </Button>
          <Link to="/p/$project/oncall" params={{ project: param }} search={{ tab }} className={buttonClass("ghost")}>
            Cancel
          </Link>
          {name !== undefined && (
            <Button kind="ghost" className="ml-auto" onClick={() => setAsking(true)}>
              <Trash2 size={14} aria-hidden /> Remove
            </Button>
          )}
        </div>
      </form>
      {asking && (
        <Confirm label={`Remove ${name}?`} button={`Remove ${word}`} action={drop} blocked={usedBy.length > 0} onClose={() => setAsking(false)}>
          <p>{usedBy.length > 0 ? `It is used by ${usedBy.slice(0, 10).join(", ")}. Change that first.` : `Nothing uses this ${word}. It is gone for good.`}</p>
        </Confirm>
      )}
    </div>
  );
}
