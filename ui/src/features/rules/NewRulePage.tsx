import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useId } from "react";
import { fieldClass } from "../../components/Field";
import { PageHead } from "../../components/Page";
import { useDraft, useProject, useTitle } from "../../lib/page";
import { monitorNamesQuery, servicesQuery } from "./queries";
import { RuleEditor } from "./RuleEditor";
import { RuleTabs } from "./RuleTabs";
import { TemplateGrid } from "./TemplateGrid";
import { fromTemplate, templates } from "./templates";

const route = getRouteApi("/p/$project/rules/new");

export function NewRulePage() {
  const { template: id, service = "", monitor = "" } = route.useSearch();
  const { project } = useProject();
  const services = useQuery(servicesQuery(project)).data;
  const template = templates.find((one) => one.id === id);
  if (!template) return <Choose />;
  const subject = service || services?.[0] || "shop";
  // The services come a moment later: the form begins when it is known what it is about.
  if (!service && services === undefined) return null;
  return <RuleEditor key={`${template.id} ${subject} ${monitor}`} start={fromTemplate(template, subject, monitor)} stored={undefined} />;
}

function Choose() {
  const { service = "", monitor = "" } = route.useSearch();
  const navigate = route.useNavigate();
  const { project } = useProject();
  const services = useQuery(servicesQuery(project)).data ?? [];
  const monitors = useQuery(monitorNamesQuery(project)).data ?? [];
  const [draft, setDraft] = useDraft(service);
  const [job, setJob] = useDraft(monitor);
  const ids = useId();
  useTitle("New rule", "Rules");
  const keep = () => void navigate({ search: (was) => ({ ...was, service: draft.trim() || undefined, monitor: job.trim() || undefined }), replace: true });
  return (
    <div className="pb-10">
      <RuleTabs />
      <PageHead title="What should be watched?" under="Name the service, then choose what to begin with. Everything can be changed after." />
      <div className="grid max-w-160 gap-3 px-4 pb-4 sm:grid-cols-2">
        <label className="text-data">
          Service
          <input list={`${ids}s`} value={draft} maxLength={200} autoComplete="off" spellCheck={false} placeholder={services[0] ?? "checkout"} onChange={(event) => setDraft(event.target.value)} onBlur={keep} className={`${fieldClass} mt-1`} />
        </label>
        <label className="text-data">
          Job or probe, for those templates
          <input list={`${ids}m`} value={job} maxLength={200} autoComplete="off" spellCheck={false} placeholder={monitors[0] ?? "nightly-backup"} onChange={(event) => setJob(event.target.value)} onBlur={keep} className={`${fieldClass} mt-1`} />
        </label>
        <datalist id={`${ids}s`}>
          {services.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
        <datalist id={`${ids}m`}>
          {monitors.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      </div>
      <TemplateGrid service={draft.trim()} monitor={job.trim()} />
    </div>
  );
}
