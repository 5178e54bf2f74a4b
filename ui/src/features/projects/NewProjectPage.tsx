import { useMutation } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { Button, buttonClass } from "../../components/Button";
import { Field } from "../../components/Field";
import { Logo } from "../../components/Logo";
import { ErrorNote } from "../../components/Page";
import { api, ApiError, data } from "../../lib/api";
import { useTitle } from "../../lib/page";
import { queryClient, sessionQuery } from "../../lib/query";
import { slugFrom } from "../../lib/slug";

export function NewProjectPage() {
  useTitle("New project");
  const navigate = useNavigate();
  const [name, setName] = useState("");
  const [typedSlug, setSlug] = useState<string | undefined>(undefined);
  const slug = typedSlug ?? slugFrom(name, /[^a-z0-9-]+/g);
  const slugOK = /^[a-z0-9][a-z0-9-]{0,49}$/.test(slug);
  const create = useMutation({
    mutationFn: () => data(api.POST("/projects", { body: { name: name.trim(), slug } })),
    onSuccess: async (project) => {
      await queryClient.fetchQuery({ ...sessionQuery, staleTime: 0 });
      await navigate({ to: "/p/$project/overview", params: { project: String(project.number) } });
    },
  });
  const taken = create.error instanceof ApiError && create.error.code === "conflict";
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (slugOK) create.mutate();
  };
  return (
    <main className="mx-auto w-full max-w-120 p-4 pt-[10vh]">
      <div className="mb-1 flex items-center gap-3">
        <Logo size={28} />
        <h1 className="text-lead font-medium">New project</h1>
      </div>
      <p className="mb-6 text-muted">One project for each product that is run by the same people. It gets its own key, and its data is its own.</p>
      <form onSubmit={submit} className="flex flex-col gap-4">
        <Field label="Name" required maxLength={100} autoFocus value={name} onChange={(event) => setName(event.target.value)} placeholder="Shop" />
        <Field
          label="Short name"
          required
          maxLength={50}
          value={slug}
          onChange={(event) => setSlug(event.target.value)}
          hint="Small letters, digits and hyphens."
          error={slug !== "" && !slugOK ? "Only small letters, digits and hyphens, beginning with a letter or digit." : taken ? "Another project has this short name." : undefined}
        />
        {create.error && !taken && <ErrorNote error={create.error} />}
        <div className="flex gap-2">
          <Button type="submit" kind="primary" disabled={create.isPending || !slugOK || name.trim() === ""}>
            {create.isPending ? "Making it…" : "Make project"}
          </Button>
          <Link to="/" className={buttonClass("ghost")}>
            Cancel
          </Link>
        </div>
      </form>
    </main>
  );
}
