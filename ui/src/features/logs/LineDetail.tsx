import { ChevronDown, Link2, X } from "lucide-react";
import { useRef, useState } from "react";
import { Button, CopyButton, IconButton } from "../../components/Button";
import { LevelWord } from "../../components/Level";
import { Menu, MenuItem } from "../../components/Menu";
import type { Log } from "../../lib/api";
import { withPhrase } from "../../lib/logText";
import { announce, copy, useNow } from "../../lib/page";
import { usePref } from "../../lib/prefs";
import { freeze } from "../../lib/range";
import { relative } from "../../lib/format";
import { iso, stamp } from "../../lib/time";
import { useRange } from "../../lib/useRange";

interface LineDetailProps {
  line: Log;
  q: string;
  onClose: () => void;
  onQuery: (q: string) => void;
  onLevel: (exclude: boolean) => void;
  onService: (exclude: boolean) => void;
}

/** One line with all that came with it, beside the list; on a narrow screen above it. */
export function LineDetail({ line, q, onClose, onQuery, onLevel, onService }: LineDetailProps) {
  const zone = usePref("zone");
  const { range } = useRange();
  const now = useNow();
  const at = Date.parse(line.time);
  const link = () => {
    // The range ends right after the line, so that it is on the first page of those who follow the link.
    const url = new URL(location.href);
    const fixed = freeze({ from: range.from, to: Math.min(range.to, Math.floor(at / 1000) * 1000 + 1000) });
    url.searchParams.set("from", fixed.from);
    url.searchParams.set("to", fixed.to);
    url.searchParams.set("row", line.id);
    return url.href;
  };
  return (
    <aside
      aria-label="Log line"
      className="flex min-h-0 flex-col overflow-hidden border-l border-line bg-s1 max-xl:fixed max-xl:inset-y-0 max-xl:right-0 max-xl:z-30 max-xl:w-[min(34rem,100vw)] max-xl:shadow-float"
    >
      <div className="flex items-center justify-between gap-2 border-b border-line py-1 pr-2 pl-3">
        <h2 className="truncate text-data text-muted">
          <LevelWord level={line.level} className="font-medium" /> {line.service && `from ${line.service}`}
        </h2>
        <div className="flex">
          <CopyButton bare label="Copy as JSON" text={() => JSON.stringify(line, null, 2)} />
          <IconButton label="Copy link to this line" onClick={() => void copy(link()).then((ok) => announce(ok ? "Link copied" : "The browser does not let this page copy"))}>
            <Link2 size={14} aria-hidden />
          </IconButton>
          <IconButton label="Close" onClick={onClose}>
            <X size={16} aria-hidden />
          </IconButton>
        </div>
      </div>
      <div className="flex-1 overflow-auto">
        <Body text={line.body} q={q} onQuery={onQuery} />
        <Table name="Line">
          <Row name="time" value={line.time} shown={`${stamp(at, zone, 0, "milli")} (${relative(at, now)})`} title={iso(at, zone)} />
          <Row name="level" value={line.level} onIn={() => onLevel(false)} onOut={() => onLevel(true)} />
          {line.severity_text && line.severity_text.toLowerCase() !== line.level && <Row name="severity" value={line.severity_text} />}
          {line.service && <Row name="service" value={line.service} onIn={() => onService(false)} onOut={() => onService(true)} />}
          {line.trace_id && <Row name="trace id" value={line.trace_id} />}
          {line.span_id && <Row name="span id" value={line.span_id} />}
        </Table>
        <Attributes name="Attributes" of={line.attributes} />
        <Attributes name="Resource" of={line.resource} />
      </div>
    </aside>
  );
}

/** The message; a part that is selected can be asked for or left out. */
function Body({ text, q, onQuery }: { text: string; q: string; onQuery: (q: string) => void }) {
  const ref = useRef<HTMLPreElement>(null);
  const [selected, setSelected] = useState("");
  const look = () => {
    const selection = getSelection();
    const inside = selection && ref.current?.contains(selection.anchorNode) && ref.current.contains(selection.focusNode);
    setSelected(inside ? selection.toString().trim().slice(0, 200) : "");
  };
  return (
    <div className="border-b border-line">
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex, jsx-a11y/no-noninteractive-element-interactions */}
      <pre ref={ref} tabIndex={0} role="region" aria-label="Message" onMouseUp={look} onKeyUp={look} className="max-h-72 overflow-auto px-3 py-3 font-mono text-data break-words whitespace-pre-wrap">
        {text || <i className="text-muted">no message</i>}
      </pre>
      {selected !== "" && (
        <div className="flex flex-wrap gap-2 px-3 pb-3">
          <Button onClick={() => onQuery(withPhrase(q, selected))}>Filter to the selection</Button>
          <Button onClick={() => onQuery(withPhrase(q, selected, true))}>Exclude it</Button>
        </div>
      )}
    </div>
  );
}

function Attributes({ name, of }: { name: string; of: Record<string, string> }) {
  const entries = Object.entries(of).toSorted(([a], [b]) => a.localeCompare(b));
  if (entries.length === 0) return null;
  return (
    <Table name={name}>
      {entries.map(([key, value]) => (
        <Row key={key} name={key} value={value} />
      ))}
    </Table>
  );
}

function Table({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <section aria-label={name} className="border-b border-line py-1.5">
      <h3 className="px-3 py-1 text-tiny text-muted">{name}</h3>
      <dl>{children}</dl>
    </section>
  );
}

function Row({ name, value, shown = value, title, onIn, onOut }: { name: string; value: string; shown?: string; title?: string; onIn?: () => void; onOut?: () => void }) {
  const menu = onIn !== undefined;
  return (
    <div className="group grid grid-cols-[minmax(5rem,9rem)_minmax(0,1fr)] items-start gap-2 py-0.5 pr-2 pl-3 text-data hover:bg-s2">
      <dt className="truncate py-1 leading-5 text-muted" title={name}>
        {name}
      </dt>
      <dd className="flex items-start gap-2">
        <span className="min-w-0 flex-1 py-1 font-mono leading-5 break-words whitespace-pre-wrap" title={title}>
          {shown}
        </span>
        {menu ? (
        <Menu
          align="end"
          trigger={
            <IconButton label={`Actions for ${name} ${value}`}>
              <ChevronDown size={14} aria-hidden />
            </IconButton>
          }
        >
          <MenuItem onSelect={onIn}>Only this {name}</MenuItem>
          <MenuItem {...(onOut ? { onSelect: onOut } : {})}>Without this {name}</MenuItem>
          <MenuItem onSelect={() => void copy(value)}>Copy</MenuItem>
        </Menu>
      ) : (
        <CopyButton bare label={`Copy ${name}`} text={value} className="opacity-0 group-hover:opacity-100 focus-visible:opacity-100" />
        )}
      </dd>
    </div>
  );
}
