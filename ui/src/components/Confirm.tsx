import type { ReactNode } from "react";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { ErrorNote } from "./Page";

interface ConfirmProps {
  label: string;
  /** What the button says, and what it says while it is done. */
  button: string;
  busy?: string;
  action: { isPending: boolean; error: Error | null; mutate: () => void };
  /** It cannot be done, for the reason that the children say. */
  blocked?: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** Asks once more before something that is not undone by a press. */
export function Confirm({ label, button, busy = button, action, blocked = false, onClose, children }: ConfirmProps) {
  return (
    <Dialog label={label} onClose={onClose}>
      {children}
      {action.error && <ErrorNote className="mt-4" error={action.error} />}
      <div className="mt-4 flex gap-2">
        {!blocked && (
          <Button kind="primary" disabled={action.isPending} onClick={() => action.mutate()}>
            {action.isPending ? busy : button}
          </Button>
        )}
        <Button kind="ghost" onClick={onClose}>
          {blocked ? "Close" : "Cancel"}
        </Button>
      </div>
    </Dialog>
  );
}
