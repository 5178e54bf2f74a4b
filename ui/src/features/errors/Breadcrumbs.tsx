import { useState } from "react";
import { Button } from "../../components/Button";
import { LevelBar, LevelWord, toLevel } from "../../components/Level";
import { Panel } from "../../components/Page";
import type { Breadcrumb, Event } from "../../lib/api";
import { plural, roughly } from "../../lib/format";
import { usePref } from "../../lib/prefs";
import { clock, iso } from "../../lib/time";

const atFirst = 12;

/** What led to the error, newest first like the stack, with how long before it happened. */
export function Breadcrumbs({ breadcrumbs, event }: { breadcrumbs: Breadcrumb[]; event: Event }) {
  const zone = usePref("zone");
  const [all, setAll] = useState(false);
  const newest = breadcrumbs.toReversed();
  const shown = all ? newest : newest.slice(0, atFirst);
  const end = Date.parse(event.time);
  return (
    <Panel title="What led to it, newest first">
      <ol className="py-1">
        {shown.map((one, i) => {
          const at = one.time === undefined ? undefined : Date.parse(one.time);
          const level = toLevel(one.level ?? "info");
          return (
            <li key={i} className="relative grid grid-cols-[auto_minmax(0,1fr)] gap-x-3 px-3 py-1 pl-4 text-data md:grid-cols-[6.5rem_9rem_minmax(0,1fr)]">
              <LevelBar level={level} />
              <span className="font-mono text-muted" title={at === undefined ? undefined : iso(at, zone)}>
                {at !== undefined && <span className="block">{clock(at, zone, "second")}</span>}
                {at !== undefined && end > at && <span className="block text-tiny">{roughly(end - at)} before</span>}
              </span>
              <span className="min-w-0 truncate text-muted">
                {one.category || one.type || "default"}
                {level !== "info" && level !== "unknown" && (
                  <>
                    {" "}
                    <LevelWord level={level} />
                  </>
                )}
              </span>
              <span className="min-w-0 font-mono break-words max-md:col-span-2">
                {one.message}
                {one.data && Object.keys(one.data).length > 0 && <span className="block text-muted">{line(one.data)}</span>}
              </span>
            </li>
          );
        })}
      </ol>
      {!all && newest.length > atFirst && (
        <div className="border-t border-line px-2 py-1">
          <Button kind="ghost" onClick={() => setAll(true)}>
            Show {plural(newest.length - atFirst, "older one")}
          </Button>
        </div>
      )}
    </Panel>
  );
}

function line(values: Record<string, unknown>): string {
  return Object.entries(values)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("  ")
    .slice(0, 500);
}
