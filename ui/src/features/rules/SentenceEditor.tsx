import { useState, type ReactNode } from "react";
import { Button } from "../../components/Button";
import { Popover } from "../../components/Menu";
import { BoundField, LengthField, ListField, SelectField, TextField, useRuleForm } from "./form";
import { within } from "./path";
import { aggregates, severityChoices, useChoices } from "./RuleFields";
import { sentenceParts, unbroken, type Part } from "./sentence";

/** The sentence that the rule is; what is underlined is changed where it stands. */
export function SentenceEditor() {
  const { rule } = useRuleForm();
  const { teams } = useChoices();
  const team = teams.find(([id]) => id === rule.team)?.[1];
  return (
    <p className="text-lead leading-9 text-pretty">
      {sentenceParts(rule, team).map((part, i) => (part.path ? <Editable key={`${part.path} ${i}`} part={part} path={part.path} /> : <span key={i}>{part.text}</span>))}
      .
    </p>
  );
}

function Editable({ part, path }: { part: Part; path: string }) {
  const [open, setOpen] = useState(false);
  const { problems } = useRuleForm();
  const wrong = problems.some((one) => within(one.field, path));
  return (
    <Popover
      label={`Change the ${part.label}`}
      align="start"
      open={open}
      onOpenChange={setOpen}
      trigger={
        <button
          type="button"
          aria-label={`${part.text}, change the ${part.label}`}
          className={`rounded-sm border-b-2 px-0.5 text-left font-medium hover:bg-s2 aria-expanded:bg-s2 ${wrong ? "border-bad text-bad" : "border-accent border-dotted"}`}
        >
          {unbroken(part.text) || "…"}
        </button>
      }
    >
      <form
        className="flex flex-col gap-3 p-3"
        onSubmit={(event) => {
          event.preventDefault();
          event.stopPropagation();
          setOpen(false);
        }}
      >
        <PartField part={part} path={path} />
        <Button type="submit" kind="primary" className="self-end">
          Done
        </Button>
      </form>
    </Popover>
  );
}

function PartField({ part, path }: { part: Part; path: string }): ReactNode {
  const { services, metrics, monitors, teams, labels } = useChoices();
  if (path.endsWith(".severity")) return <SelectField path={path} label="How loud" choices={severityChoices} />;
  if (path.endsWith(".fire")) return <BoundField path={path} label="Bad is" hint="A share may be written as 5%." />;
  if (path.endsWith(".for") || path === "window") return <LengthField path={path} label={path === "window" ? "Over the last" : "When it lasts"} hint="Such as 90s, 5m or 1h." />;
  switch (path) {
    case "team":
      return <SelectField path={path} label="Team" none="whom the routes name" choices={teams} />;
    case "service":
      return <TextField path={path} label="Service" list={services} />;
    case "query.metric":
      return <TextField path={path} label="Metric" list={metrics} mono />;
    case "query.aggregate":
      return <SelectField path={path} label="Aggregate" none="the usual" choices={aggregates} />;
    case "query.monitor":
      return <TextField path={path} label="Monitor" list={monitors} mono />;
    case "query.by":
      return <ListField path={path} label="For each" list={labels} />;
    default:
      return <TextField path={path} label={`${part.label?.slice(0, 1).toUpperCase()}${part.label?.slice(1)}`} numeric={path === "slo.target" || path === "query.regions"} />;
  }
}
