import { Dialog } from "../components/Dialog";
import { Kbd } from "../components/Page";
import { modifier } from "../lib/keys";
import { setPref, usePref } from "../lib/prefs";

const groups: { name: string; keys: [string, string][] }[] = [
  {
    name: "Anywhere",
    keys: [
      [`${modifier.trim()} K`, "Search or jump"],
      ["/", "Go to the query"],
      ["t", "Time range"],
      ["r", "Refresh now"],
      ["?", "This help"],
    ],
  },
  {
    name: "Go to",
    keys: [
      ["g o", "Overview"],
      ["g a", "Incidents"],
      ["g l", "Logs"],
      ["g m", "Metrics"],
      ["g e", "Errors"],
      ["g c", "Monitors"],
      ["g n", "On call"],
      ["g s", "Silences"],
      ["g d", "Digest"],
      ["g p", "Probes"],
      ["g r", "Rules"],
      ["g v", "Receivers"],
      ["g t", "Routes"],
      ["g y", "Deliveries"],
    ],
  },
  {
    name: "Lists",
    keys: [
      ["j", "Next"],
      ["k", "Previous"],
      ["Enter", "Open"],
      ["o", "Open"],
      ["Esc", "Close"],
      ["e", "Edit the monitor"],
      ["n", "New rule or receiver"],
    ],
  },
  {
    name: "Rule",
    keys: [
      [`${modifier.trim()} S`, "Save the rule"],
      ["y", "Show or hide its YAML"],
    ],
  },
  {
    name: "An incident",
    keys: [
      ["a", "Acknowledge"],
      ["n", "Write a note"],
    ],
  },
  {
    name: "An error",
    keys: [["d", "Resolve or reopen"]],
  },
  {
    name: "Charts",
    keys: [
      ["Drag", "Show that part"],
      ["Double-click", "Go back"],
    ],
  },
];

export function KeyboardHelp({ onClose }: { onClose: () => void }) {
  const keys = usePref("keys");
  return (
    <Dialog label="Keyboard shortcuts" onClose={onClose}>
      <div className="grid gap-x-8 gap-y-4 sm:grid-cols-2">
        {groups.map((group) => (
          <section key={group.name}>
            <h3 className="mb-1 text-data text-muted">{group.name}</h3>
            <dl>
              {group.keys.map(([key, what]) => (
                <div key={key} className="flex min-h-7 items-center justify-between text-data">
                  <dt>{what}</dt>
                  <dd className="flex gap-1">
                    {key.split(" ").map((one) => (
                      <Kbd key={one}>{one}</Kbd>
                    ))}
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <label className="mt-4 flex items-center gap-2 border-t border-line pt-3 text-data">
        <input type="checkbox" checked={keys} onChange={(event) => setPref("keys", event.target.checked)} className="size-4 accent-(--accent)" />
        Use single keys as shortcuts
      </label>
    </Dialog>
  );
}
