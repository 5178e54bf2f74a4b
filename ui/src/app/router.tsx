import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Link,
  Outlet,
  redirect,
  retainSearchParams,
  type ErrorComponentProps,
} from "@tanstack/react-router";
import { ErrorNote } from "../components/Page";
import {
  digestAddress,
  incidentsAddress,
  deliveriesAddress,
  issueAddress,
  issuesAddress,
  logsAddress,
  metricsAddress,
  monitorsAddress,
  newSilenceAddress,
  oncallAddress,
  rangeAddress,
  signInAddress,
  silencesAddress,
  newRuleAddress,
  receiversAddress,
  rulesAddress,
} from "../lib/addresses";
import { ApiError } from "../lib/api";
import { pref, setPref } from "../lib/prefs";
import { queryClient, sessionQuery } from "../lib/query";
import { parseSearch, stringifySearch } from "../lib/search";
import { Shell } from "./Shell";

const root = createRootRoute({
  component: Outlet,
  notFoundComponent: () => <Lost title="There is no such page." />,
  errorComponent: Broken,
});

/** Who is signed in; anyone else goes to sign in and comes back. */
async function signedIn(href: string) {
  try {
    return await queryClient.ensureQueryData(sessionQuery);
  } catch (error) {
    if (error instanceof ApiError && error.code === "unauthorized") {
      throw redirect({ to: "/signin", search: { next: href === "/" ? undefined : href }, replace: true });
    }
    throw error;
  }
}

const home = createRoute({
  getParentRoute: () => root,
  path: "/",
  beforeLoad: async ({ location }) => {
    const { projects } = await signedIn(location.href);
    const last = projects.find((one) => one.number === pref("project")) ?? projects[0];
    throw last
      ? redirect({ to: "/p/$project/overview", params: { project: String(last.number) }, replace: true })
      : redirect({ to: "/new-project", replace: true });
  },
});

const signin = createRoute({
  getParentRoute: () => root,
  path: "/signin",
  validateSearch: signInAddress,
  component: lazyRouteComponent(() => import("../features/signin/SignInPage"), "SignInPage"),
});

const newProject = createRoute({
  getParentRoute: () => root,
  path: "/new-project",
  beforeLoad: ({ location }) => signedIn(location.href),
  component: lazyRouteComponent(() => import("../features/projects/NewProjectPage"), "NewProjectPage"),
});

const project = createRoute({
  getParentRoute: () => root,
  path: "/p/$project",
  validateSearch: rangeAddress,
  search: { middlewares: [retainSearchParams(["from", "to", "refresh"])] },
  beforeLoad: async ({ params, location }) => {
    const session = await signedIn(location.href);
    const number = Number(params.project);
    if (!session.projects.some((one) => one.number === number)) {
      // Another person, or another tab, may have just made it.
      const fresh = await queryClient.fetchQuery({ ...sessionQuery, staleTime: 0 });
      if (!fresh.projects.some((one) => one.number === number)) {
        throw new ApiError("not_found", `There is no project ${params.project} that you may see.`);
      }
    }
    setPref("project", number);
  },
  component: Shell,
  errorComponent: Broken,
});

const projectHome = createRoute({
  getParentRoute: () => project,
  path: "/",
  beforeLoad: ({ params }) => {
    throw redirect({ to: "/p/$project/overview", params, replace: true });
  },
});

const overview = createRoute({
  getParentRoute: () => project,
  path: "overview",
  component: lazyRouteComponent(() => import("../features/overview/OverviewPage"), "OverviewPage"),
});

const logs = createRoute({
  getParentRoute: () => project,
  path: "logs",
  validateSearch: logsAddress,
  component: lazyRouteComponent(() => import("../features/logs/LogsPage"), "LogsPage"),
});

const metrics = createRoute({
  getParentRoute: () => project,
  path: "metrics",
  validateSearch: metricsAddress,
  component: lazyRouteComponent(() => import("../features/metrics/MetricsPage"), "MetricsPage"),
});

const issues = createRoute({
  getParentRoute: () => project,
  path: "errors",
  validateSearch: issuesAddress,
  component: lazyRouteComponent(() => import("../features/errors/IssuesPage"), "IssuesPage"),
});

const issue = createRoute({
  getParentRoute: () => project,
  path: "errors/$issue",
  validateSearch: issueAddress,
  component: lazyRouteComponent(() => import("../features/errors/IssuePage"), "IssuePage"),
});

const monitors = createRoute({
  getParentRoute: () => project,
  path: "monitors",
  validateSearch: monitorsAddress,
  component: lazyRouteComponent(() => import("../features/monitors/MonitorsPage"), "MonitorsPage"),
});

const monitor = createRoute({
  getParentRoute: () => project,
  path: "monitors/$slug",
  component: lazyRouteComponent(() => import("../features/monitors/MonitorPage"), "MonitorPage"),
});

const editMonitor = createRoute({
  getParentRoute: () => project,
  path: "monitors/$slug/edit",
  component: lazyRouteComponent(() => import("../features/monitors/EditMonitorPage"), "EditMonitorPage"),
});

const newMonitor = createRoute({
  getParentRoute: () => project,
  path: "new-monitor",
  component: lazyRouteComponent(() => import("../features/monitors/NewMonitorPage"), "NewMonitorPage"),
});

const incidents = createRoute({
  getParentRoute: () => project,
  path: "incidents",
  validateSearch: incidentsAddress,
  component: lazyRouteComponent(() => import("../features/incidents/IncidentsPage"), "IncidentsPage"),
});

const incident = createRoute({
  getParentRoute: () => project,
  path: "incidents/$incident",
  component: lazyRouteComponent(() => import("../features/incidents/IncidentPage"), "IncidentPage"),
});

const oncall = createRoute({
  getParentRoute: () => project,
  path: "oncall",
  validateSearch: oncallAddress,
  component: lazyRouteComponent(() => import("../features/oncall/OncallPage"), "OncallPage"),
});

const editOncall = createRoute({
  getParentRoute: () => project,
  path: "oncall/$kind/$id",
  component: lazyRouteComponent(() => import("../features/oncall/EditPage"), "EditPage"),
});

const newOncall = createRoute({
  getParentRoute: () => project,
  path: "new-oncall/$kind",
  component: lazyRouteComponent(() => import("../features/oncall/EditPage"), "NewPage"),
});

const silences = createRoute({
  getParentRoute: () => project,
  path: "silences",
  validateSearch: silencesAddress,
  component: lazyRouteComponent(() => import("../features/silences/SilencesPage"), "SilencesPage"),
});

const newSilence = createRoute({
  getParentRoute: () => project,
  path: "new-silence",
  validateSearch: newSilenceAddress,
  component: lazyRouteComponent(() => import("../features/silences/NewSilencePage"), "NewSilencePage"),
});

const editWindow = createRoute({
  getParentRoute: () => project,
  path: "silences/windows/$id",
  component: lazyRouteComponent(() => import("../features/silences/WindowPage"), "EditWindowPage"),
});

const newWindow = createRoute({
  getParentRoute: () => project,
  path: "new-window",
  component: lazyRouteComponent(() => import("../features/silences/WindowPage"), "NewWindowPage"),
});

const digest = createRoute({
  getParentRoute: () => project,
  path: "digest",
  validateSearch: digestAddress,
  component: lazyRouteComponent(() => import("../features/digest/DigestPage"), "DigestPage"),
});

const probes = createRoute({
  getParentRoute: () => project,
  path: "probes",
  component: lazyRouteComponent(() => import("../features/probes/ProbesPage"), "ProbesPage"),
});

const probe = createRoute({
  getParentRoute: () => project,
  path: "probes/$probe",
  component: lazyRouteComponent(() => import("../features/probes/ProbePage"), "ProbePage"),
});

const newProbe = createRoute({
  getParentRoute: () => project,
  path: "new-probe",
  component: lazyRouteComponent(() => import("../features/probes/ProbePage"), "NewProbePage"),
});

const rules = createRoute({
  getParentRoute: () => project,
  path: "rules",
  validateSearch: rulesAddress,
  component: lazyRouteComponent(() => import("../features/rules/RulesPage"), "RulesPage"),
});

const newRule = createRoute({
  getParentRoute: () => project,
  path: "rules/new",
  validateSearch: newRuleAddress,
  component: lazyRouteComponent(() => import("../features/rules/NewRulePage"), "NewRulePage"),
});

const rule = createRoute({
  getParentRoute: () => project,
  path: "rules/$id",
  component: lazyRouteComponent(() => import("../features/rules/RulePage"), "RulePage"),
});

const receivers = createRoute({
  getParentRoute: () => project,
  path: "receivers",
  validateSearch: receiversAddress,
  component: lazyRouteComponent(() => import("../features/receivers/ReceiversPage"), "ReceiversPage"),
});

const routes = createRoute({
  getParentRoute: () => project,
  path: "routes",
  component: lazyRouteComponent(() => import("../features/routes/RoutesPage"), "RoutesPage"),
});

const deliveries = createRoute({
  getParentRoute: () => project,
  path: "deliveries",
  validateSearch: deliveriesAddress,
  component: lazyRouteComponent(() => import("../features/deliveries/DeliveriesPage"), "DeliveriesPage"),
});

const settings = createRoute({
  getParentRoute: () => project,
  path: "settings",
  component: lazyRouteComponent(() => import("../features/settings/SettingsPage"), "SettingsPage"),
});

function Broken({ error, reset }: ErrorComponentProps) {
  const gone = error instanceof ApiError && error.code === "not_found";
  return (
    <main className="mx-auto max-w-xl p-6">
      <h1 className="mb-3 text-lead font-medium">{gone ? error.message : "This page could not be shown."}</h1>
      {!gone && (
        <ErrorNote
          error={error as Error}
          retry={() => {
            reset();
            void router.invalidate();
          }}
        />
      )}
      {gone && (
        <Link to="/" className="text-accent underline underline-offset-2">
          Go to your last project
        </Link>
      )}
    </main>
  );
}

function Opening() {
  return (
    <div role="status" className="p-6 text-muted">
      Opening…
    </div>
  );
}

function Lost({ title }: { title: string }) {
  return (
    <main className="mx-auto max-w-xl p-6">
      <h1 className="mb-3 text-lead font-medium">{title}</h1>
      <Link to="/" className="text-accent underline underline-offset-2">
        Go to your last project
      </Link>
    </main>
  );
}

export const router = createRouter({
  routeTree: root.addChildren([
    home,
    signin,
    newProject,
    project.addChildren([
      projectHome,
      overview,
      logs,
      metrics,
      issues,
      issue,
      monitors,
      monitor,
      editMonitor,
      newMonitor,
      probes,
      probe,
      newProbe,
      incidents,
      incident,
      oncall,
      editOncall,
      newOncall,
      silences,
      newSilence,
      editWindow,
      newWindow,
      digest,
      rules,
      newRule,
      rule,
      receivers,
      routes,
      deliveries,
      settings,
    ]),
  ]),
  parseSearch,
  stringifySearch,
  defaultPendingMs: 300,
  defaultPendingComponent: Opening,
  defaultPreload: "intent",
  defaultPreloadStaleTime: 0,
  scrollRestoration: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
