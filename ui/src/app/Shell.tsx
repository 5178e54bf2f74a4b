import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useLocation, useNavigate } from "@tanstack/react-router";
import { CircleHelp } from "lucide-react";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { openIncidentsQuery } from "../lib/alerting";
import { useKeys } from "../lib/keys";
import { useAnnounced, useProject } from "../lib/page";
import { RangeProvider, useRange } from "../lib/useRange";
import { morePages, pages, rulePages } from "./pages";
import { Logo } from "../components/Logo";

const Header = lazy(() => import("./Header").then((m) => ({ default: m.Header })));
const Palette = lazy(() => import("./Palette").then((m) => ({ default: m.Palette })));
const KeyboardHelp = lazy(() => import("./KeyboardHelp").then((m) => ({ default: m.KeyboardHelp })));

/** The frame of every page of a project: rail, header, and what floats above. */
export function Shell() {
  return (
    <RangeProvider>
      <Frame />
    </RangeProvider>
  );
}

function Frame() {
  const { param } = useProject();
  const navigate = useNavigate();
  const { refreshNow } = useRange();
  const [over, setOver] = useState<"palette" | "keys" | undefined>(undefined);
  const [rangeOpen, setRangeOpen] = useState(false);
  const main = useRef<HTMLElement>(null);
  const path = useLocation({ select: (location) => location.pathname });
  const first = useRef(true);

  // A new page is read from its top, by eyes and by screen readers.
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    main.current?.scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [path]);

  useKeys({
    "mod+k": () => setOver("palette"),
    "?": () => setOver("keys"),
    t: () => setRangeOpen(true),
    r: refreshNow,
    "/": () => {
      const field = document.querySelector<HTMLInputElement>("main input[type=search]");
      field?.focus();
      field?.select();
      return field !== null;
    },
    ...Object.fromEntries([...pages, ...rulePages, ...morePages].map((page) => [`g ${page.key}`, () => void navigate({ to: page.to, params: { project: param } })])),
  });

  return (
    <div className="grid h-dvh print:block print:h-auto grid-cols-[56px_minmax(0,1fr)] grid-rows-[auto_minmax(0,1fr)] max-md:grid-cols-[minmax(0,1fr)] max-md:grid-rows-[auto_minmax(0,1fr)_auto]">
      <a href="#main" className="absolute left-2 z-50 -translate-y-20 rounded bg-accent px-3 py-1.5 text-accent-ink focus:translate-y-2">
        Skip to the page
      </a>
      <Rail onHelp={() => setOver("keys")} />
      <Suspense fallback={<div className="min-h-12 border-b border-line bg-s1 max-md:min-h-[88px]" />}>
        <Header rangeOpen={rangeOpen} onRangeOpen={setRangeOpen} onPalette={() => setOver("palette")} />
      </Suspense>
      <main id="main" ref={main} tabIndex={-1} className="relative overflow-auto print:overflow-visible">
        <Suspense>
          <Outlet />
        </Suspense>
      </main>
      <Announcer />
      <Suspense>
        {over === "palette" && <Palette onClose={() => setOver(undefined)} onKeys={() => setOver("keys")} onRange={() => setRangeOpen(true)} />}
        {over === "keys" && <KeyboardHelp onClose={() => setOver(undefined)} />}
      </Suspense>
    </div>
  );
}

function Rail({ onHelp }: { onHelp: () => void }) {
  const { param } = useProject();
  return (
    <nav
      aria-label="Pages"
      className="row-span-2 flex flex-col print:hidden items-stretch border-r border-line bg-s1 max-md:order-last max-md:row-span-1 max-md:flex-row max-md:border-t max-md:border-r-0 max-md:pb-[env(safe-area-inset-bottom)]"
    >
      <Link to="/" aria-label="Midwatch" className="flex h-12 items-center justify-center max-md:hidden">
        <Logo />
      </Link>
      {pages.map(({ to, name, key, icon: Icon }) => (
        <Link
          key={to}
          to={to}
          params={{ project: param }}
          title={`${name} (g ${key})`}
          activeOptions={{ includeSearch: false }}
          className="relative flex h-13 flex-col items-center justify-center gap-0.5 text-muted hover:bg-s2 hover:text-ink aria-[current=page]:bg-s2 aria-[current=page]:text-ink max-md:flex-1 [&[aria-current=page]>span:first-child]:opacity-100"
        >
          <span aria-hidden className="absolute inset-y-2 left-0 w-[2px] rounded-full bg-accent opacity-0 max-md:inset-x-6 max-md:inset-y-auto max-md:top-0 max-md:h-[2px] max-md:w-auto" />
          <Icon size={18} strokeWidth={1.75} aria-hidden />
          {key === "a" && <OpenDot />}
          <span className="text-[10px] leading-3 tracking-tight">{name}</span>
        </Link>
      ))}
      <button
        type="button"
        onClick={onHelp}
        aria-label="Keyboard shortcuts"
        title="Keyboard shortcuts (?)"
        className="mt-auto flex h-12 items-center justify-center text-muted hover:text-ink max-md:hidden"
      >
        <CircleHelp size={18} strokeWidth={1.75} aria-hidden />
      </button>
    </nav>
  );
}

/** There only while an incident is open. */
function OpenDot() {
  const { project } = useProject();
  const open = useQuery(openIncidentsQuery(project)).data?.length ?? 0;
  if (open === 0) return null;
  return (
    <span className="absolute top-2 left-1/2 ml-1.5 size-[10px] rounded-full border-2 border-s1 bg-bar-bad">
      <span className="sr-only">{open} open</span>
    </span>
  );
}

function Announcer() {
  return (
    <div role="status" aria-live="polite" className="sr-only">
      {useAnnounced()}
    </div>
  );
}
