import { ChevronDown, Clock } from "lucide-react";
import { useState, type FormEvent } from "react";
import { Button, CopyButton } from "../components/Button";
import { Popover } from "../components/Menu";
import { Kbd } from "../components/Page";
import { setPref } from "../lib/prefs";
import { describe, freeze, parseTyped, presets, same, type RawRange } from "../lib/range";
import { fromInputValue, inputValue, stamp } from "../lib/time";
import { useRange } from "../lib/useRange";

export function RangePicker({ open, onOpenChange }: { open: boolean; onOpenChange: (open: boolean) => void }) {
  const { raw, zone, now } = useRange();
  const text = describe(raw, zone, now);
  return (
    <Popover
      label="Time range"
      open={open}
      onOpenChange={onOpenChange}
      trigger={
        <Button kind="plain" aria-label={`Time range: ${text}`} className="min-w-28 shrink justify-between">
          <Clock size={14} className="text-muted" aria-hidden />
          <span className="truncate">{text}</span>
          {zone === "utc" && <span className="text-tiny text-muted">UTC</span>}
          <ChevronDown size={12} className="text-muted" aria-hidden />
        </Button>
      }
    >
      <Picker done={() => onOpenChange(false)} />
    </Popover>
  );
}

function Picker({ done }: { done: () => void }) {
  const { raw, range, zone, now, setRaw } = useRange();
  const [typed, setTyped] = useState("");
  const meant = typed.trim() === "" ? undefined : parseTyped(typed, now, zone);
  const wrong = typed.trim() !== "" && !meant;
  const [from, setFrom] = useState(() => inputValue(range.from, zone));
  const [to, setTo] = useState(() => inputValue(range.to, zone));
  const [fromAt, toAt] = [fromInputValue(from, zone), fromInputValue(to, zone)];
  const backwards = fromAt === undefined || toAt === undefined || fromAt >= toAt;

  const choose = (next: RawRange) => {
    setRaw(next);
    done();
  };
  const submitTyped = (event: FormEvent) => {
    event.preventDefault();
    if (meant) choose(meant);
  };
  const submitFixed = (event: FormEvent) => {
    event.preventDefault();
    if (!backwards) choose(freeze({ from: fromAt, to: toAt }));
  };
  const frozen = () => {
    const url = new URL(location.href);
    const fixed = freeze(range);
    url.searchParams.set("from", fixed.from);
    url.searchParams.set("to", fixed.to);
    url.searchParams.delete("refresh");
    return url.href;
  };

  return (
    <div className="p-3">
      <form onSubmit={submitTyped}>
        <label className="mb-1 block text-tiny text-muted" htmlFor="range-typed">
          Type a range, then Enter
        </label>
        <input
          id="range-typed"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          placeholder="3h, yesterday, 14:00 to 15:30, 21 Aug"
          autoComplete="off"
          aria-invalid={wrong}
          aria-describedby="range-meant"
          className={field}
        />
        <p id="range-meant" aria-live="polite" className={`mt-1 min-h-5 text-tiny ${wrong ? "text-bad" : "text-muted"}`}>
          {meant ? describe(meant, zone, now) : wrong ? "Not a range. Try 90m, last 2 days, or 2026-08-21 02:00 to 03:00." : ""}
        </p>
      </form>
      <ul className="grid grid-cols-3 gap-1" aria-label="Common ranges">
        {presets.map((preset) => (
          <li key={preset.name}>
            <button
              type="button"
              aria-pressed={same(preset.raw, raw)}
              onClick={() => choose(preset.raw)}
              className="min-h-8 w-full rounded-sm bg-s2 px-2 text-left text-data hover:bg-s3 aria-pressed:bg-accent-soft aria-pressed:text-accent"
            >
              {preset.name}
            </button>
          </li>
        ))}
      </ul>
      <form onSubmit={submitFixed} className="mt-3 border-t border-line pt-3">
        <div className="grid gap-2 sm:grid-cols-2">
          <label className="text-tiny text-muted">
            From
            <input type="datetime-local" step="1" value={from} onChange={(event) => setFrom(event.target.value)} className={field} />
          </label>
          <label className="text-tiny text-muted">
            To
            <input type="datetime-local" step="1" value={to} onChange={(event) => setTo(event.target.value)} className={field} />
          </label>
        </div>
        <div className="mt-2 flex flex-wrap items-center justify-between gap-2">
          <div role="group" aria-label="Time zone" className="flex rounded border border-line">
            {(["local", "utc"] as const).map((one) => (
              <button
                key={one}
                type="button"
                aria-pressed={zone === one}
                onClick={() => {
                  setPref("zone", one);
                  setFrom(inputValue(range.from, one));
                  setTo(inputValue(range.to, one));
                }}
                className="min-h-7 px-2.5 text-data text-muted first:rounded-l last:rounded-r aria-pressed:bg-s3 aria-pressed:text-ink"
              >
                {one === "utc" ? "UTC" : "Local"}
              </button>
            ))}
          </div>
          <Button type="submit" disabled={backwards} title={backwards ? "From must be before to" : undefined}>
            Show
          </Button>
        </div>
      </form>
      <div className="mt-3 flex flex-wrap items-center justify-between gap-2 border-t border-line pt-3 text-tiny text-muted">
        <CopyButton kind="plain" label="Copy link" text={frozen} />
        <span>
          fixed at {stamp(range.from, zone, now, "second")} – {stamp(range.to, zone, now, "second")}
        </span>
        <span className="max-md:hidden">
          <Kbd>t</Kbd> opens this
        </span>
      </div>
    </div>
  );}

const field = "mt-0.5 w-full min-h-8 rounded border border-line bg-bg px-2 text-data text-ink aria-invalid:border-bad";
