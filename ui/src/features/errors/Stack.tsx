import { ChevronRight } from "lucide-react";
import { useState } from "react";
import { CopyButton } from "../../components/Button";
import { Panel } from "../../components/Page";
import type { Exception, Frame } from "../../lib/api";
import { plural } from "../../lib/format";
import { fold, frameText, stackText } from "./frames";
import { Value } from "./Fields";

/** How many frames of the program are open at first. */
const openAtFirst = 4;

/** One exception with its stack, newest call first: the program's own frames are open, the others folded. */
export function Stack({ exception, cause }: { exception: Exception; cause: boolean }) {
  const folds = fold(exception.frames);
  const handled = exception.handled === undefined ? "" : exception.handled ? "handled" : "not handled";
  const openUntil = folds.filter((one) => one.kind === "own")[openAtFirst]?.index ?? Number.POSITIVE_INFINITY;
  return (
    <Panel
      title={
        <span className="break-words">
          {cause && <span className="font-normal text-muted">Caused by </span>}
          <span className="font-mono">{exception.type || "Error"}</span>
          {exception.value && <span className="font-normal"> {exception.value}</span>}
        </span>
      }
      more={
        <span className="flex items-center gap-2 text-data text-muted">
          <span className={exception.handled === false ? "text-bad" : ""}>{handled}</span>
          {exception.mechanism && exception.mechanism !== "generic" && <span>by {exception.mechanism}</span>}
          {exception.frames.length > 0 && <CopyButton bare label="Copy the stack as text" text={() => stackText(exception.type, exception.value, exception.frames)} />}
        </span>
      }
    >
      {exception.frames.length === 0 ? (
        <p className="px-3 py-3 text-data text-muted">The sender gave no stack.</p>
      ) : (
        <ol aria-label="Stack, newest call first">
          {folds.map((one) => (one.kind === "own" ? <OwnFrame key={one.index} frame={one.frame} first={one.index < openUntil} /> : <Others key={one.index} frames={one.frames} />))}
        </ol>
      )}
    </Panel>
  );
}

function Place({ frame }: { frame: Frame }) {
  return (
    <span className="min-w-0 break-all">
      <span className="font-medium text-ink">{frame.function || "(anonymous)"}</span>
      <span className="text-muted">
        {" in "}
        {frame.file || frame.module || "unknown"}
        {frame.line !== undefined && `:${frame.line}`}
        {frame.column !== undefined && `:${frame.column}`}
      </span>
    </span>
  );
}

function OwnFrame({ frame, first }: { frame: Frame; first: boolean }) {
  const more = frame.context_line !== undefined || Object.keys(frame.vars ?? {}).length > 0;
  const [open, setOpen] = useState(first && more);
  return (
    <li className="border-b border-line last:border-b-0">
      {more ? (
        <button type="button" aria-expanded={open} onClick={() => setOpen(!open)} className="flex min-h-8 w-full items-start gap-1.5 px-3 py-1.5 text-left font-mono text-data hover:bg-s2">
          <ChevronRight size={14} aria-hidden className={`mt-0.75 shrink-0 text-muted ${open ? "rotate-90" : ""}`} />
          <Place frame={frame} />
        </button>
      ) : (
        <p className="min-h-8 px-3 py-1.5 pl-8 font-mono text-data">
          <Place frame={frame} />
        </p>
      )}
      {open && <Context frame={frame} />}
    </li>
  );
}

/** The line with those around it, and the variables. */
function Context({ frame }: { frame: Frame }) {
  const pre = frame.pre_context ?? [];
  const post = frame.post_context ?? [];
  const lines = frame.context_line === undefined ? [] : [...pre, frame.context_line, ...post];
  const start = (frame.line ?? pre.length + 1) - pre.length;
  const vars = Object.entries(frame.vars ?? {});
  return (
    <>
      {lines.length > 0 && (
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        <div tabIndex={0} role="region" aria-label={`Source around ${frameText(frame)}`} className="overflow-x-auto bg-bg py-1.5 font-mono text-data leading-5">
          <div className="w-max min-w-full">
            {lines.map((line, i) => {
              const hit = i === pre.length;
              return (
                <div key={i} className={`flex ${hit ? "bg-accent-soft" : ""}`} aria-current={hit || undefined}>
                  <span className={`w-14 shrink-0 border-r-2 pr-3 text-right select-none ${hit ? "border-accent text-ink" : "border-transparent text-muted"}`}>{start + i}</span>
                  <code className={`pr-4 pl-3 whitespace-pre ${hit ? "text-ink" : "text-muted"}`}>{line || " "}</code>
                </div>
              );
            })}
          </div>
        </div>
      )}
      {vars.length > 0 && (
        <dl aria-label="Variables" className="border-t border-line px-3 py-1.5 text-data">
          {vars.map(([name, value]) => (
            <div key={name} className="grid grid-cols-[minmax(4rem,10rem)_minmax(0,1fr)] gap-3 py-0.5 font-mono">
              <dt className="truncate text-muted">{name}</dt>
              <dd>
                <Value value={value} />
              </dd>
            </div>
          ))}
        </dl>
      )}
    </>
  );
}

function Others({ frames }: { frames: Frame[] }) {
  const [open, setOpen] = useState(false);
  return (
    <li className="border-b border-line last:border-b-0">
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)} className="flex min-h-8 w-full items-center gap-1.5 px-3 text-left text-data text-muted hover:bg-s2">
        <ChevronRight size={14} aria-hidden className={`shrink-0 ${open ? "rotate-90" : ""}`} />
        {plural(frames.length, "frame")} of libraries
        {!open && frames.length === 1 && <span className="min-w-0 truncate font-mono">{frameText(frames[0]!)}</span>}
      </button>
      {open && (
        <ol>
          {frames.map((frame, i) => (
            <OwnFrame key={i} frame={frame} first={false} />
          ))}
        </ol>
      )}
    </li>
  );
}
