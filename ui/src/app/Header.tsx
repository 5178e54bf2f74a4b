import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useRouter } from "@tanstack/react-router";
import { ChevronDown, ChevronLeft, ChevronRight, ChevronsUpDown, Moon, Plus, RefreshCw, Search, Settings, Sun, SunMoon, UserRound } from "lucide-react";
import { useIsFetching } from "@tanstack/react-query";
import { Button, IconButton } from "../components/Button";
import { Menu, MenuChoice, MenuItem, MenuLabel, MenuSeparator } from "../components/Menu";
import { Kbd } from "../components/Page";
import type { Refresh } from "../lib/addresses";
import { api } from "../lib/api";
import { modifier } from "../lib/keys";
import { useProject } from "../lib/page";
import { setPref, usePref, type Theme } from "../lib/prefs";
import { queryClient, sessionQuery } from "../lib/query";
import { useRange } from "../lib/useRange";
import { RangePicker } from "./RangePicker";

export function Header({ rangeOpen, onRangeOpen, onPalette }: { rangeOpen: boolean; onRangeOpen: (open: boolean) => void; onPalette: () => void }) {
  const { step } = useRange();
  return (
    <header className="flex min-h-12 print:hidden flex-wrap items-center gap-x-3 gap-y-1 border-b border-line bg-s1 px-3 py-1.5">
      <ProjectSwitcher />
      <button
        type="button"
        onClick={onPalette}
        aria-keyshortcuts="Control+K Meta+K"
        className="mx-auto flex min-h-7 w-64 min-w-0 shrink items-center gap-2 rounded border border-line bg-bg px-2.5 text-data text-muted hover:border-edge max-lg:w-auto max-md:mr-0 max-md:ml-auto"
      >
        <Search size={14} aria-hidden />
        <span className="flex-1 text-left max-lg:sr-only">Search or jump</span>
        <span aria-hidden className="max-lg:hidden">
          <Kbd>{modifier}K</Kbd>
        </span>
      </button>
      <div className="md:hidden">
        <AccountMenu />
      </div>
      <div className="flex items-center gap-1 max-md:w-full">
        <IconButton label="Earlier" onClick={() => step(-1)}>
          <ChevronLeft size={16} aria-hidden />
        </IconButton>
        <RangePicker open={rangeOpen} onOpenChange={onRangeOpen} />
        <IconButton label="Later" onClick={() => step(1)}>
          <ChevronRight size={16} aria-hidden />
        </IconButton>
        <span className="max-md:ml-auto" />
        <RefreshMenu />
      </div>
      <div className="max-md:hidden">
        <AccountMenu />
      </div>
    </header>
  );
}

function ProjectSwitcher() {
  const { project, param } = useProject();
  const { data: session } = useQuery(sessionQuery);
  const current = session?.projects.find((one) => one.number === project);
  return (
    <Menu
      label="Projects"
      trigger={
        <Button kind="ghost" tight className="max-w-[60vw] shrink text-ink">
          <span className="truncate text-muted max-sm:hidden">{session?.organisation.name}</span>
          <span className="text-muted max-sm:hidden" aria-hidden>
            /
          </span>
          <span className="truncate font-medium">{current?.name}</span>
          <span className="sr-only">switch project</span>
          <ChevronsUpDown size={14} className="shrink-0 text-muted" aria-hidden />
        </Button>
      }
    >
      <MenuLabel>{session?.organisation.name}</MenuLabel>
      {session?.projects.map((one) => (
        <MenuItem key={one.number} asChild>
          <Link to="/p/$project/overview" params={{ project: String(one.number) }} aria-current={one.number === project || undefined}>
            <span className="flex-1">{one.name}</span>
            <span className="text-muted">{one.number}</span>
          </Link>
        </MenuItem>
      ))}
      <MenuSeparator />
      <MenuItem asChild>
        <Link to="/p/$project/settings" params={{ project: param }}>
          <Settings size={14} aria-hidden /> Project settings
        </Link>
      </MenuItem>
      <MenuItem asChild>
        <Link to="/new-project">
          <Plus size={14} aria-hidden /> New project…
        </Link>
      </MenuItem>
    </Menu>
  );
}

const refreshNames: Record<Refresh, string> = { off: "Off", "10s": "10 s", "30s": "30 s", "1m": "1 min", "5m": "5 min" };

function RefreshMenu() {
  const { live, refresh, setRefresh, refreshNow, held } = useRange();
  const fetching = useIsFetching({ predicate: (query) => query.queryKey[0] !== "signals" }) > 0;
  const state = !live ? "fixed" : held && refresh !== "off" ? "paused" : refreshNames[refresh];
  return (
    <div className="flex items-center">
      <IconButton label="Refresh now" aria-busy={fetching} onClick={refreshNow} disabled={!live}>
        <RefreshCw size={14} aria-hidden />
      </IconButton>
      <Menu
        align="end"
        label="Refresh"
        trigger={
          <Button kind="ghost" disabled={!live} tight aria-label={`Refresh: ${state}`} title={held ? "Paused while you read" : !live ? "The range has a fixed end" : undefined}>
            {state} <ChevronDown size={12} aria-hidden />
          </Button>
        }
      >
        <MenuLabel>Refresh every</MenuLabel>
        <MenuChoice value={refresh} onChange={setRefresh} choices={(Object.keys(refreshNames) as Refresh[]).map((value) => ({ value, name: refreshNames[value] }))} />
      </Menu>
    </div>
  );
}

const themes: { value: Theme; name: string; icon: typeof Sun }[] = [
  { value: "system", name: "Like the system", icon: SunMoon },
  { value: "light", name: "Light", icon: Sun },
  { value: "dark", name: "Dark", icon: Moon },
];

function AccountMenu() {
  const { data: session } = useQuery(sessionQuery);
  const theme = usePref("theme");
  const navigate = useNavigate();
  const router = useRouter();
  const signOut = async () => {
    await api.DELETE("/session").catch(() => undefined); // the session may be over already, and then this is what was wanted
    await navigate({ to: "/signin" });
    queryClient.clear();
    void router.invalidate();
  };
  return (
    <Menu
      align="end"
      label="Account"
      trigger={
        <IconButton label="Account and theme">
          <UserRound size={16} aria-hidden />
        </IconButton>
      }
    >
      {session?.user && <MenuLabel>{session.user.email}</MenuLabel>}
      <MenuLabel>Theme</MenuLabel>
      <MenuChoice
        value={theme}
        onChange={(value) => setPref("theme", value)}
        choices={themes.map(({ value, name, icon: Icon }) => ({
          value,
          name: (
            <>
              <Icon size={14} aria-hidden /> {name}
            </>
          ),
        }))}
      />
      <MenuSeparator />
      <MenuItem onSelect={() => void signOut()}>Sign out</MenuItem>
    </Menu>
  );
}
