import { Panel } from "../../components/Page";

/** Named values of any shape; what says nothing is left out, and so is a panel without any. */
export function Fields({ name, of }: { name: string; of: Record<string, unknown> | undefined }) {
  const entries = Object.entries(of ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  if (entries.length === 0) return null;
  return (
    <Panel title={name}>
      <dl className="py-1.5">
        {entries.map(([key, value]) => (
          <div key={key} className="grid grid-cols-[minmax(5rem,10rem)_minmax(0,1fr)] gap-3 px-3 py-1 text-data">
            <dt className="truncate text-muted" title={key}>
              {key}
            </dt>
            <dd className="font-mono">
              <Value value={value} />
            </dd>
          </div>
        ))}
      </dl>
    </Panel>
  );
}

/** A value as text; what is more than a word is JSON. */
export function Value({ value }: { value: unknown }) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return <span className="block max-h-60 overflow-auto break-words whitespace-pre-wrap">{text}</span>;
}
