import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { CircleCheck, CircleDashed, CircleX, Plus, Send, Unplug, X, type LucideIcon } from "lucide-react";
import { Button, IconButton } from "../../components/Button";
import { Menu, MenuItem } from "../../components/Menu";
import { Await, Empty, ErrorNote, PageHead, Skeleton, When } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import { api, data, type StoredReceiver } from "../../lib/api";
import { plural } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { useAnswer, useProject, useTitle } from "../../lib/page";
import { RuleTabs } from "../rules/RuleTabs";
import { kindNames, kinds } from "./kinds";
import { deliveryQuery, receiversQuery } from "./queries";
import { ReceiverForm } from "./ReceiverForm";

const route = getRouteApi("/p/$project/receivers");

type Status = StoredReceiver["state"]["status"];

const looks: Record<Status, { icon: LucideIcon; tone: string; word: string }> = {
  ok: { icon: CircleCheck, tone: "text-ok", word: "working" },
  unknown: { icon: CircleDashed, tone: "text-quiet", word: "never tried" },
  unreachable: { icon: Unplug, tone: "text-warn", word: "unreachable" },
  broken: { icon: CircleX, tone: "text-bad", word: "broken" },
};

function sentenceOf(all: readonly StoredReceiver[]): string {
  if (all.length === 0) return "No receiver is set up: everybody here gets pages by e-mail.";
  const bad = all.filter((one) => one.state.status === "broken" || one.state.status === "unreachable");
  if (bad.length === 0) return `${plural(all.length, "receiver")}, none in trouble.`;
  const named = bad.slice(0, 2).map((one) => `${one.receiver.name} is ${looks[one.state.status].word}`);
  if (bad.length > 2) named.push(`${bad.length - 2} more are in trouble`);
  return `${named.join("; ")}.`;
}

export function ReceiversPage() {
  const { project, param } = useProject();
  const { open, add } = route.useSearch();
  const navigate = route.useNavigate();
  const options = receiversQuery(project);
  const query = useQuery(options);
  const list = useRowKeys<HTMLUListElement>();
  const sentence = query.data && sentenceOf(query.data);
  useTitle(sentence, "Receivers");
  useAnswer(sentence, String(project));
  const close = () => void navigate({ search: (was) => ({ ...was, open: undefined, add: undefined }) });
  useKeys({ Escape: () => (open || add ? close() : false), n: () => void navigate({ search: (was) => ({ ...was, add: "email", open: undefined }) }) });
  const chosen = query.data?.find((one) => one.receiver.id === open);
  const detail = add !== undefined || chosen !== undefined;
  return (
    <div className="pb-10">
      <RuleTabs />
      <PageHead
        title={sentence ?? "Receivers"}
        under="Where the organisation can be told. Who is told of what is said by its routes and policies."
        actions={
          <Menu
            align="end"
            label="Kinds of receivers"
            trigger={
              <Button kind="primary">
                <Plus size={14} aria-hidden /> New receiver
              </Button>
            }
          >
            {kindNames.map((kind) => (
              <MenuItem key={kind} asChild>
                <Link to="/p/$project/receivers" params={{ project: param }} search={{ add: kind }}>
                  <span className="min-w-32">{kinds[kind].name}</span>
                  <span className="text-muted">{kinds[kind].about}</span>
                </Link>
              </MenuItem>
            ))}
          </Menu>
        }
      />
      <Await query={query} queryKey={options.queryKey} skeleton={<Skeleton rows={6} />}>
        {(all) => (
          <div className={`grid items-start gap-x-4 ${detail ? "xl:grid-cols-[minmax(0,1fr)_minmax(0,30rem)]" : ""}`}>
            <ul ref={list} aria-label="Receivers" className={`border-t border-line ${detail ? "max-xl:hidden" : ""}`}>
              {all.map((one) => (
                <Row key={one.receiver.id} one={one} all={all} current={one.receiver.id === open} />
              ))}
              {all.length === 0 && (
                <li>
                  <Empty>Add an address, a channel or a webhook, and send it a test.</Empty>
                </li>
              )}
            </ul>
            {detail && (
              <section aria-label={chosen ? chosen.receiver.name : "New receiver"} className="mx-4 rounded border border-line bg-s1 xl:mr-4 xl:ml-0">
                <div className="flex min-h-10 items-center justify-between gap-2 border-b border-line px-3">
                  <h2 className="font-medium">{chosen ? chosen.receiver.name : `New receiver: ${kinds[add!].name}`}</h2>
                  <IconButton label="Close" onClick={close}>
                    <X size={16} aria-hidden />
                  </IconButton>
                </div>
                <ReceiverForm key={chosen ? `${chosen.receiver.id} ${chosen.meta.version}` : add} stored={chosen} kind={chosen?.receiver.kind ?? add!} others={all} onClose={close} onSaved={(id) => void navigate({ search: (was) => ({ ...was, open: id, add: undefined }) })} />
              </section>
            )}
          </div>
        )}
      </Await>
    </div>
  );
}

function Row({ one, all, current }: { one: StoredReceiver; all: readonly StoredReceiver[]; current: boolean }) {
  const { param } = useProject();
  const { receiver, state, used_by: users } = one;
  const { icon: Icon, tone, word } = looks[state.status];
  const fallback = all.find((other) => other.receiver.id === receiver.fallback)?.receiver.name ?? receiver.fallback;
  return (
    <li className={`relative grid items-center gap-x-4 gap-y-1 border-b border-line py-2.5 pr-3 pl-4 sm:grid-cols-[minmax(0,1fr)_auto] ${current ? "bg-accent-soft" : "hover:bg-s2"}`}>
      <div className="min-w-0">
        <p className="flex flex-wrap items-center gap-x-3">
          <Link
            data-row
            to="/p/$project/receivers"
            params={{ project: param }}
            search={{ open: receiver.id }}
            aria-current={current || undefined}
            className="font-medium after:absolute after:inset-0 after:content-['']"
          >
            {receiver.name}
          </Link>
          <span className={`inline-flex items-center gap-1.5 text-data ${tone}`}>
            <Icon size={14} aria-hidden /> {word}
            {state.since && state.status !== "ok" && (
              <>
                {" since "}
                <When at={state.since} />
              </>
            )}
          </span>
        </p>
        <p className="text-data text-muted">
          {kinds[receiver.kind].name}
          {" · "}
          {state.last_delivered_at ? (
            <>
              last delivered <When at={state.last_delivered_at} mode="ago" />
            </>
          ) : (
            "nothing delivered yet"
          )}
          {" · "}
          {users.length === 0 ? "named by nobody" : `named by ${users.join(", ")}`}
          {fallback && ` · else ${fallback}`}
        </p>
        {state.last_error && (state.status === "broken" || state.status === "unreachable") && <p className={`text-data ${tone} wrap-anywhere`}>{state.last_error}</p>}
        {receiver.kind === "opsgenie" && <p className="text-data text-warn">Ends April 2027.</p>}
      </div>
      <Test id={receiver.id} name={receiver.name} />
    </li>
  );
}

/** Sends a test message and tells how it went, once it did. */
function Test({ id, name }: { id: string; name: string }) {
  const { project } = useProject();
  const test = useMutation({ mutationFn: () => data(api.POST("/projects/{project}/receivers/{id}/test", { params: { path: { project, id } } })) });
  return (
    <div className="relative flex flex-col items-start gap-1 sm:items-end">
      <Button disabled={test.isPending} aria-label={`Send a test to ${name}`} onClick={() => test.mutate()}>
        <Send size={14} aria-hidden /> Test
      </Button>
      {test.error && <ErrorNote error={test.error} />}
      {test.data && <Outcome key={test.data.key} id={test.data.key} />}
    </div>
  );
}

function Outcome({ id }: { id: string }) {
  const { project, param } = useProject();
  const query = useQuery({ ...deliveryQuery(project, id), retry: 3 });
  const found = query.data;
  const last = found?.tries.at(-1);
  const state = found?.delivery.state;
  const waiting = !found || state === "due" || state === "sending";
  return (
    <p role="status" className="max-w-80 text-data sm:text-right">
      {query.error ? (
        <span className="text-bad">{query.error.message}</span>
      ) : waiting && !last ? (
        <span className="text-muted">On its way…</span>
      ) : (
        <>
          <span className={state === "done" ? "text-ok" : waiting ? "text-warn" : "text-bad"}>
            {state === "done" ? `Arrived${last ? `, in ${last.took_ms} ms` : ""}` : waiting ? `Not yet: ${last?.error ?? "it is tried again"}` : `Failed: ${last?.error ?? found?.delivery.last_error ?? state}`}
          </span>{" "}
          <Link to="/p/$project/deliveries" params={{ project: param }} search={{ open: id }} className={`text-accent underline underline-offset-2`}>
            see it
          </Link>
        </>
      )}
    </p>
  );
}

