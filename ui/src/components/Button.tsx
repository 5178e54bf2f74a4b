import type { ComponentProps } from "react";
import { Check, Copy } from "lucide-react";
import { useState } from "react";
import { announce, copy } from "../lib/page";

const kinds = {
  primary: "bg-accent text-accent-ink font-medium hover:opacity-90",
  plain: "border border-line bg-s2 text-ink hover:bg-s3 aria-pressed:border-accent aria-pressed:text-accent",
  ghost: "text-muted hover:bg-s2 hover:text-ink aria-expanded:bg-s2 aria-expanded:text-ink aria-pressed:text-accent",
} as const;

export interface ButtonProps extends ComponentProps<"button"> {
  kind?: keyof typeof kinds;
  /** Less room at the sides, for buttons in a row of their own. */
  tight?: boolean;
}

export function buttonClass(kind: keyof typeof kinds = "plain", more = "px-2.5"): string {
  return `inline-flex min-h-7 shrink-0 items-center justify-center gap-1.5 rounded text-data whitespace-nowrap disabled:opacity-50 ${kinds[kind]} ${more}`;
}

export function Button({ kind = "plain", className = "", tight = false, type = "button", ...rest }: ButtonProps) {
  return <button type={type} className={buttonClass(kind, `${tight ? "px-1.5" : "px-2.5"} ${className}`)} {...rest} />;
}

/** A square button of one icon; the label is what a screen reader says and what shows on hover. */
export function IconButton({ label, className = "", kind = "ghost", children, ...rest }: Omit<ButtonProps, "tight"> & { label: string }) {
  return (
    <button type="button" aria-label={label} title={label} className={buttonClass(kind, `size-7 ${className}`)} {...rest}>
      {children}
    </button>
  );
}

/** Copies a text and says so. */
export function CopyButton({ text, label = "Copy", kind = "ghost", bare = false, className }: { text: string | (() => string); label?: string; kind?: ButtonProps["kind"]; bare?: boolean; className?: string }) {
  const [done, setDone] = useState(false);
  const press = async () => {
    const ok = await copy(typeof text === "string" ? text : text());
    announce(ok ? "Copied" : "The browser does not let this page copy");
    if (!ok) return;
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  const icon = done ? <Check size={14} className="text-ok" aria-hidden /> : <Copy size={14} aria-hidden />;
  return bare ? (
    <IconButton label={label} className={className} onClick={() => void press()}>
      {icon}
    </IconButton>
  ) : (
    <Button kind={kind} className={className} onClick={() => void press()}>
      {icon}
      {done ? "Copied" : label}
    </Button>
  );
}
