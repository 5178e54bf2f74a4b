import { Tabs } from "radix-ui";
import type { Snippet } from "../lib/snippets";
import { CopyButton } from "./Button";

/** Ways to do the same thing, one tab each, to be copied as they stand. */
export function Snippets({ all, label }: { all: Snippet[]; label: string }) {
  return (
    <Tabs.Root defaultValue={all[0]?.id}>
      <Tabs.List aria-label={label} className="flex flex-wrap gap-1 border-b border-line px-2">
        {all.map((one) => (
          <Tabs.Trigger
            key={one.id}
            value={one.id}
            className="-mb-px min-h-9 border-b-2 border-transparent px-2.5 text-data text-muted hover:text-ink data-[state=active]:border-accent data-[state=active]:text-ink"
          >
            {one.label}
          </Tabs.Trigger>
        ))}
      </Tabs.List>
      {all.map((one) => (
        <Tabs.Content key={one.id} value={one.id} forceMount tabIndex={-1} className="data-[state=inactive]:hidden">
          <SnippetText snippet={one} label={label} />
        </Tabs.Content>
      ))}
    </Tabs.Root>
  );
}

function SnippetText({ snippet, label }: { snippet: Snippet; label: string }) {
  return (
    <div>
      <div className="flex items-center justify-between gap-3 py-1.5 pr-2 pl-3">
        <p className="text-data text-muted">{snippet.hint}</p>
        <CopyButton text={snippet.text} kind="plain" />
      </div>
      {/* Long lines scroll, so the keyboard must reach it. */}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre data-snippet={snippet.id} tabIndex={0} role="region" aria-label={`${label}: ${snippet.label}`} className="overflow-auto border-t border-line bg-bg px-3 py-2.5 font-mono text-data leading-5 whitespace-pre">
        {snippet.text}
      </pre>
    </div>
  );
}
