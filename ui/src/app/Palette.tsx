import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Command } from "cmdk";
import { BellOff, Clock, Contrast, FolderOpen, Keyboard, Link2, Plus, RefreshCw, Settings, type LucideIcon } from "lucide-react";
import type { ReactNode } from "react";
import { Dialog } from "../components/Dialog";
import { Kbd } from "../components/Page";
import { announce, copy, useProject } from "../lib/page";
import { setPref, usePref } from "../lib/prefs";
import { sessionQuery } from "../lib/query";
import { freeze, presets } from "../lib/range";
import { useRange } from "../lib/useRange";
import { morePages, pages, rulePages } from "./pages";

const group =
  "[&_[cmdk-group-heading]]:px-3 [&_[cmdk-group-heading]]:pt-2 [&_[cmdk-group-heading]]:pb-1 [&_[cmdk-group-heading]]:text-tiny [&_[cmdk-group-heading]]:text-muted";

/** Everything that has a name, to go there by typing a part of it. */
export function Palette({ onClose, onKeys, onRange }: { onClose: () => void; onKeys: () => void; onRange: () => void }) {
  const navigate = useNavigate();
  const { project, param } = useProject();
  const { data: session } = useQuery(sessionQuery);
  const { setRaw, range, refreshNow, live } = useRange();
  const zone = usePref("zone");
  const run = (action: () => void) => () => {
    onClose();
    action();
  };
  const copyLink = () => {
    const url = new URL(location.href);
    for (const [key, value] of Object.entries(freeze(range))) url.searchParams.set(key, value);
    void copy(url.href).then((ok) => announce(ok ? "Link copied" : "The browser does not let this page copy"));
  };
  return (
    <Dialog label="Search or jump" bare onClose={onClose}>
      <Command label="Search or jump" loop>
        <Command.Input
          placeholder="Search or jump"
          className="h-12 w-full border-b border-line bg-transparent px-4 text-head outline-none"
        />
        <Command.List className="max-h-[60vh] overflow-auto p-1">
          <Command.Empty className="p-4 text-muted">Nothing has that name.</Command.Empty>
          <Command.Group heading="Pages" className={group}>
            {[...pages, ...rulePages.slice(1), ...morePages].map((page) => (
              <Item key={page.to} icon={page.icon} hint={`g ${page.key}`} onSelect={run(() => void navigate({ to: page.to, params: { project: param } }))}>
                {page.name}
              </Item>
            ))}
            <Item icon={Plus} onSelect={run(() => void navigate({ to: "/p/$project/new-monitor", params: { project: param } }))}>
              New monitor
            </Item>
            <Item icon={BellOff} onSelect={run(() => void navigate({ to: "/p/$project/new-silence", params: { project: param } }))}>
              New silence
            </Item>
            <Item icon={Plus} onSelect={run(() => void navigate({ to: "/p/$project/rules/new", params: { project: param } }))}>
              New rule
            </Item>
            <Item icon={Settings} onSelect={run(() => void navigate({ to: "/p/$project/settings", params: { project: param } }))}>
              Project settings
            </Item>
          </Command.Group>
          <Command.Group heading="Projects" className={group}>
            {session?.projects
              .filter((one) => one.number !== project)
              .map((one) => (
                <Item key={one.number} icon={FolderOpen} onSelect={run(() => void navigate({ to: "/p/$project/overview", params: { project: String(one.number) } }))}>
                  Project {one.name}
                </Item>
              ))}
            <Item icon={Plus} onSelect={run(() => void navigate({ to: "/new-project" }))}>
              New project
            </Item>
          </Command.Group>
          <Command.Group heading="Time range" className={group}>
            {presets.map((preset) => (
              <Item key={preset.name} icon={Clock} onSelect={run(() => setRaw(preset.raw))}>
                {preset.name}
              </Item>
            ))}
            <Item icon={Clock} hint="t" onSelect={run(onRange)}>
              Another range…
            </Item>
            <Item icon={Clock} onSelect={run(() => setPref("zone", zone === "utc" ? "local" : "utc"))}>
              {zone === "utc" ? "Show local time" : "Show UTC"}
            </Item>
            {live && (
              <Item icon={RefreshCw} hint="r" onSelect={run(refreshNow)}>
                Refresh now
              </Item>
            )}
            <Item icon={Link2} onSelect={run(copyLink)}>
              Copy link to this page at this time
            </Item>
          </Command.Group>
          <Command.Group heading="Theme and keys" className={group}>
            {(["dark", "light", "system"] as const).map((theme) => (
              <Item key={theme} icon={Contrast} onSelect={run(() => setPref("theme", theme))}>
                {theme === "system" ? "Theme like the system" : theme === "dark" ? "Dark theme" : "Light theme"}
              </Item>
            ))}
            <Item icon={Keyboard} hint="?" onSelect={run(onKeys)}>
              Keyboard shortcuts
            </Item>
          </Command.Group>
        </Command.List>
      </Command>
    </Dialog>
  );
}

function Item({ icon: Icon, hint, onSelect, children }: { icon: LucideIcon; hint?: string; onSelect: () => void; children: ReactNode }) {
  return (
    <Command.Item onSelect={onSelect} className="flex min-h-9 items-center gap-3 rounded-sm px-3 data-[selected=true]:bg-s3">
      <Icon size={15} className="text-muted" aria-hidden />
      <span className="flex-1">{children}</span>
      {hint && (
        <span className="flex gap-1">
          {hint.split(" ").map((key) => (
            <Kbd key={key}>{key}</Kbd>
          ))}
        </span>
      )}
    </Command.Item>
  );
}
