import type { ComponentProps, ReactNode } from "react";
import { useId } from "react";

export const fieldClass = "w-full min-h-9 rounded border border-edge bg-bg px-2.5 text-base text-ink aria-invalid:border-bad";

/** A labelled input with its hint and its error beneath. */
export function Field({ label, hint, error, className = "", ...input }: ComponentProps<"input"> & { label: string; hint?: ReactNode; error?: string | undefined }) {
  const id = useId();
  return (
    <div className={className}>
      <label htmlFor={id} className="mb-1 block text-data">
        {label}
      </label>
      <input id={id} aria-invalid={error !== undefined || undefined} aria-describedby={hint || error ? `${id}-more` : undefined} className={fieldClass} {...input} />
      {(hint || error) && (
        <p id={`${id}-more`} className={`mt-1 text-data ${error ? "text-bad" : "text-muted"}`}>
          {error ?? hint}
        </p>
      )}
    </div>
  );
}
