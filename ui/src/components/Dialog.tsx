import { X } from "lucide-react";
import { useEffect, useRef, type ReactNode } from "react";
import { IconButton } from "./Button";

/** The browser's own modal dialog: it traps the focus, closes on Escape and gives the focus back. */
export function Dialog({ label, onClose, children, bare = false, className = "" }: { label: string; onClose: () => void; children: ReactNode; bare?: boolean; className?: string }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    // The browser chooses the first element that can have the focus; a field to type into is better.
    dialog?.querySelector<HTMLElement>("input:not([type=checkbox])")?.focus();
    return () => dialog?.close();
  }, []);
  return (
    // A press beside the dialog closes it; for the keyboard there is Escape.
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog
      ref={ref}
      aria-label={label}
      onClose={onClose}
      onClick={(event) => event.target === ref.current && onClose()}
      className={`m-auto mt-[12vh] max-h-[76vh] w-[min(36rem,calc(100vw-16px))] overflow-hidden rounded border border-line bg-s1 p-0 text-base shadow-float ${className}`}
    >
      {bare ? (
        children
      ) : (
        <div className="flex max-h-[76vh] flex-col">
          <div className="flex items-center justify-between border-b border-line px-4 py-2">
            <h2 className="text-head font-medium">{label}</h2>
            <IconButton label="Close" onClick={onClose}>
              <X size={16} aria-hidden />
            </IconButton>
          </div>
          <div className="overflow-auto p-4">{children}</div>
        </div>
      )}
    </dialog>
  );
}
