import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { X } from "lucide-react";
import { Button, CopyButton, IconButton } from "../../components/Button";
import { Await, Empty, PageHead, Skeleton, When } from "../../components/Page";
import { useRowKeys } from "../../components/useRowKeys";
import { deliveryStates } from "../../lib/addresses";
import { api, data, type Delivery, type DeliveryDetail, type DeliveryTry } from "../../lib/api";
import { duration, plural } from "../../lib/format";
import { useKeys } from "../../lib/keys";
import { useAnswer, useProject, useTitle } from "../../lib/page";
import { deliveryQuery, receiversQuery } from "../receivers/queries";
import { SeverityBar, SeverityWord } from "../rules/RuleMarks";
import { RuleTabs } from "../rules/RuleTabs";
import { IncidentLink } from "./IncidentLink";
import { actionWord, deliveriesSentence, messageJSON, messageText, stateWords } from "./words";

const route = getRouteApi("/p/$project/deliveries");

const limit = 200;

export function DeliveriesPage() {
  const { project } = useProject();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { receiver, incident, state, open } = search;
  const queryKey = ["deliveries", project, receiver, incident, state];
  const query = useQuery({
    queryKey,
    queryFn: async ({ signal }) =>
      (await data(api.GET("/projects/{project}/deliveries", { params: { path: { project }, query: { receiver, incident, state, limit } }, signal }))).deliveries,
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
    staleTime: 5000,
  });
  const receivers = useQuery(receiversQuery(project)).data ?? [];
  const nameOf = (id: string) => receivers.find((one) => one.receiver.id === id)?.receiver.name ?? id;
  const filtered = Boolean(receiver ?? incident ?? state);
  const sentence = query.data && (query.data.length === 0 && filtered ? "No message is like this." : deliveriesSentence(query.data));
  const list = useRowKeys<HTMLUListElement>();
  useTitle(sentence, "Deliveries");
  useAnswer(sentence, `${project} ${receiver} ${incident} ${state}`);
  const close = () => void navigate({ search: (was) => ({ ...was, open: undefined }) });
  useKeys({ Escape: () => (open ? close() : false) });
  return (
    <div className="pb-10">
      <RuleTabs />
      <PageHead title={sentence ?? "Deliveries"} busy={query.isPlaceholderData} under="Each message of the organisation, newest first, as it was sent." />
      <div className={`flex flex-wrap items-center gap-1.5 px-4 pb-3 ${open ? "max-xl:hidden" : ""}`}>
        <select
          aria-label="Receiver"
          value={receiver ?? ""}
          onChange={(event) => void navigate({ search: (was) => ({ ...was, receiver: event.target.value || undefined }), replace: true })}
          className={`min-h-7 rounded border bg-s2 px-1.5 text-data ${receiver ? "border-accent text-accent" : "border-line"}`}
        >
          <option value="">any receiver</option>
          {receiver && !receivers.some((one) => one.receiver.id === receiver) && <option>{receiver}</option>}
          {receivers.map((one) => (
            <option key={one.receiver.id} value={one.receiver.id}>
              {one.receiver.name}
            </option>
          ))}
        </select>
        {deliveryStates.map((one) => (
          <Button key={one} title={stateWords[one].about} aria-pressed={state === one} onClick={() => void navigate({ search: (was) => ({ ...was, state: was.state === one ? undefined : one }), replace: true })}>
            {stateWords[one].word}
          </Button>
        ))}
        {incident && (
          <Button aria-pressed onClick={() => void navigate({ search: (was) => ({ ...was, incident: undefined }), replace: true })}>
            of one incident <X size={12} aria-label="Show all" />
          </Button>
        )}
      </div>
      <div className={`grid items-start gap-x-4 ${open ? "xl:grid-cols-[minmax(0,1fr)_minmax(0,34rem)]" : ""}`}>
        <div className={open ? "max-xl:hidden" : ""}>
          <Await query={query} queryKey={queryKey} skeleton={<Skeleton rows={8} />}>
            {(all) => (
              <ul ref={list} aria-label="Deliveries" className={`border-t border-line ${query.isPlaceholderData ? "stale" : ""}`}>
                {all.map((one) => (
                  <Row key={one.key} one={one} receiver={nameOf(one.receiver)} current={one.key === open} />
                ))}
                {all.length === 0 && (
                  <li>
                    <Empty>{filtered ? "Take a filter away to see others." : "Messages stand here as soon as a rule tells somebody, or a receiver is tested."}</Empty>
                  </li>
                )}
                {all.length >= limit && (
                  <li>
                    <Empty>The newest {limit}; filter to see others.</Empty>
                  </li>
                )}
              </ul>
            )}
          </Await>
        </div>
        {open && <Detail key={open} id={open} nameOf={nameOf} onClose={close} />}
      </div>
    </div>
  );
}

function Row({ one, receiver, current }: { one: Delivery; receiver: string; current: boolean }) {
  const { word, tone, about } = stateWords[one.state];
  return (
    <li className={`relative grid items-center gap-x-4 border-b border-line py-2 pr-3 pl-4 sm:grid-cols-[8.5rem_minmax(0,1fr)_9rem] ${current ? "bg-accent-soft" : "hover:bg-s2"}`}>
      <SeverityBar value={one.severity} />
      <When at={one.created_at} mode="ago" className="text-data text-muted" />
      <div className="min-w-0">
        <Link
          data-row
          from="/p/$project/deliveries"
          to="."
          search={(was) => ({ ...was, open: one.key })}
          aria-current={current || undefined}
          className="block truncate after:absolute after:inset-0 after:content-['']"
        >
          {one.title || actionWord(one.action)}
        </Link>
        <p className="flex flex-wrap gap-x-3 text-data text-muted">
          <span>{receiver}</span>
          <span>{actionWord(one.action)}</span>
          <SeverityWord value={one.severity} />
          {one.incident && <IncidentLink id={one.incident} />}
        </p>
      </div>
      <p className="text-data sm:text-right" title={about}>
        <span className={tone}>{word}</span>
        <span className="text-muted sm:block"> {one.attempts > 1 ? `${plural(one.attempts, "attempt")}` : ""}</span>
        {one.uncertain && <span className="text-warn sm:block"> maybe twice</span>}
      </p>
      {one.last_error && one.state !== "done" && <p className="text-data text-bad wrap-anywhere sm:col-start-2 sm:col-end-4">{one.last_error}</p>}
    </li>
  );
}

function Detail({ id, nameOf, onClose }: { id: string; nameOf: (id: string) => string; onClose: () => void }) {
  const { project } = useProject();
  const options = deliveryQuery(project, id);
  const query = useQuery(options);
  return (
    <section aria-label="The message" className="mx-4 min-w-0 rounded border border-line bg-s1 xl:ml-0">
      <div className="flex min-h-10 items-center justify-between gap-2 border-b border-line px-3">
        <h2 className="min-w-0 truncate font-medium">{query.data?.delivery.title || (query.data ? actionWord(query.data.delivery.action) : "The message")}</h2>
        <IconButton label="Close" onClick={onClose}>
          <X size={16} aria-hidden />
        </IconButton>
      </div>
      <Await query={query} queryKey={options.queryKey}>
        {(found) => <Message found={found} receiver={nameOf(found.delivery.receiver)} />}
      </Await>
    </section>
  );
}

function Message({ found, receiver }: { found: DeliveryDetail; receiver: string }) {
  const { delivery, tries, message } = found;
  const { word, tone, about } = stateWords[delivery.state];
  const text = message && messageText(message);
  const json = message && messageJSON(message);
  return (
    <>
      <dl className="grid grid-cols-[auto_minmax(0,1fr)] gap-x-4 gap-y-1 p-3 text-data">
        <Fact name="State">
          <span className={tone}>{word}</span> <span className="text-muted">{about}</span>
        </Fact>
        <Fact name="Receiver">{receiver}</Fact>
        <Fact name="Made">
          <When at={delivery.created_at} precision="second" />
        </Fact>
        {!delivery.done_at && (
          <Fact name="Due">
            <When at={delivery.due_at} precision="second" />
          </Fact>
        )}
        {delivery.done_at && (
          <Fact name="Done">
            <When at={delivery.done_at} precision="second" />
          </Fact>
        )}
        {delivery.reference && (
          <Fact name="Known there as">
            <code className="font-mono wrap-anywhere">{delivery.reference}</code>
          </Fact>
        )}
        {delivery.incident && (
          <Fact name="Incident">
            <IncidentLink id={delivery.incident} />
          </Fact>
        )}
        <Fact name="Key">
          <code className="font-mono wrap-anywhere">{delivery.key}</code>
        </Fact>
      </dl>
      <h3 className="border-t border-line px-3 pt-2 text-data font-medium">{tries.length === 0 ? "Not tried yet" : plural(tries.length, "attempt")}</h3>
      <ol className="px-3 pb-2">
        {tries.map((one) => (
          <Attempt key={`${one.number} ${one.at}`} one={one} />
        ))}
      </ol>
      {text && (
        <>
          <div className="flex items-center justify-between border-t border-line px-3 py-1">
            <h3 className="text-data font-medium">As text</h3>
            <CopyButton text={text} />
          </div>
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
          <pre tabIndex={0} role="region" aria-label="The message as text" className="max-h-96 overflow-auto border-t border-line bg-bg px-3 py-2 font-sans text-data whitespace-pre-wrap wrap-anywhere">
            {text}
          </pre>
        </>
      )}
      {json && (
        <details className="border-t border-line">
          <summary className="min-h-9 px-3 py-2 text-data font-medium">As JSON</summary>
          <div className="flex justify-end px-3 pb-1">
            <CopyButton text={json} />
          </div>
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
          <pre tabIndex={0} role="region" aria-label="The message as JSON" className="max-h-96 overflow-auto border-t border-line bg-bg px-3 py-2 font-mono text-tiny">
            {json}
          </pre>
        </details>
      )}
    </>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <>
      <dt className="text-muted">{name}</dt>
      <dd className="min-w-0">{children}</dd>
    </>
  );
}

function Attempt({ one }: { one: DeliveryTry }) {
  const good = one.error === undefined;
  return (
    <li className="border-b border-line py-1 text-data last:border-b-0">
      <p className="flex flex-wrap gap-x-3">
        <span className="text-muted">{one.number}.</span>
        <When at={one.at} mode="clock" precision="second" />
        <span className={good ? "text-ok" : "text-bad"}>{one.code ? `answered ${one.code}` : good ? "taken" : "no answer"}</span>
        <span className="text-muted">after {duration(one.took_ms)}</span>
      </p>
      {one.error && <p className="text-bad wrap-anywhere">{one.error}</p>}
      {one.excerpt && <p className="font-mono text-tiny text-muted wrap-anywhere">{one.excerpt}</p>}
    </li>
  );
}
