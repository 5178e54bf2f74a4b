import { useMemo, useState } from "react";
import { Field } from "../../components/Field";
import type { Matcher } from "../../lib/api";
import { parseMatchers } from "../../lib/silences";

export interface Matchers {
  text: string;
  setText: (text: string) => void;
  /** Undefined where the text cannot be read. */
  value: Matcher[] | undefined;
  error: string | undefined;
}

/** Conditions as they are typed. */
export function useMatchers(first: string): Matchers {
  const [text, setText] = useState(first);
  const read = useMemo(() => {
    try {
      return { value: parseMatchers(text), error: undefined };
    } catch (error) {
      return { value: undefined, error: (error as Error).message };
    }
  }, [text]);
  return { text, setText, ...read };
}

export function MatchersField({ matchers, required = false, hint }: { matchers: Matchers; required?: boolean; hint?: string }) {
  const [left, setLeft] = useState(matchers.text !== "");
  return (
    <Field
      label="What"
      required={required}
      maxLength={2000}
      value={matchers.text}
      onChange={(event) => matchers.setText(event.target.value)}
      onBlur={() => setLeft(true)}
      autoComplete="off"
      spellCheck={false}
      placeholder={'service="checkout", environment="production"'}
      className="[&_input]:font-mono"
      error={left ? matchers.error : undefined}
      hint={hint ?? 'All conditions have to hold: label="value", != for not, =~ and !~ for a regular expression.'}
    />
  );
}
