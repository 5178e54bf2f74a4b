import { useEffect, useMemo, useState } from "react";
import { CopyButton } from "../../components/Button";
import { Panel } from "../../components/Page";
import type { Problem, Rule } from "../../lib/api";
import { atLines, printRule, readRule, type LineProblem } from "./yaml";

/** The rule as a file holds it; broken while the text is no rule. What is typed here is in the form at once, and the other way round. */
export function YamlPane({ rule, problems, onChange, onBroken }: { rule: Rule; problems: readonly Problem[]; onChange: (rule: Rule) => void; onBroken: (broken: boolean) => void }) {
  // Typed text stands as it is, comments and all, as long as it says what the rule is.
  const [typed, setTyped] = useState<{ text: string; says: string | undefined } | undefined>(undefined);
  const now = JSON.stringify(rule);
  useEffect(() => () => onBroken(false), [onBroken]);
  const own = typed && (typed.says === undefined || typed.says === now) ? typed.text : undefined;
  const text = own ?? printRule(rule);
  const wrong = useMemo((): LineProblem[] => {
    const read = readRule(text);
    return read.rule ? atLines(text, problems) : read.problems;
  }, [text, problems]);
  const change = (next: string) => {
    const { rule: read } = readRule(next);
    setTyped({ text: next, says: read && JSON.stringify(read) });
    onBroken(!read);
    if (read) onChange(read);
  };
  const lines = text.split("\n").length;
  const marked = new Set(wrong.map((one) => one.line));
  return (
    <Panel title="As YAML" more={<CopyButton text={text} />}>
      <div className="flex max-h-[70vh] overflow-auto bg-bg font-mono text-data leading-5">
        <div aria-hidden className="sticky left-0 shrink-0 border-r border-line bg-s1 py-2 text-right text-muted select-none">
          {Array.from({ length: lines }, (_, i) => (
            <div key={i} className={`px-2 ${marked.has(i + 1) ? "bg-bad font-medium text-bg" : ""}`}>
              {i + 1}
            </div>
          ))}
        </div>
        <textarea
          aria-label="The rule as YAML"
          aria-invalid={wrong.length > 0 || undefined}
          aria-describedby="yaml-problems"
          value={text}
          onChange={(event) => change(event.target.value)}
          rows={lines}
          wrap="off"
          spellCheck={false}
          autoCapitalize="none"
          autoComplete="off"
          className="min-w-0 flex-1 resize-none overflow-x-auto overflow-y-hidden bg-transparent px-2 py-2 leading-5"
        />
      </div>
      <ul id="yaml-problems" className="empty:hidden border-t border-line px-3 py-2 text-data text-bad">
        {wrong.map((one) => (
          <li key={`${one.line} ${one.message}`}>
            {one.line > 0 && `Line ${one.line}: `}
            {one.message}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
