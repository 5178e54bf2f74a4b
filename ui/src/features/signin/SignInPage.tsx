import { useMutation } from "@tanstack/react-query";
import { useNavigate, useRouter, useSearch } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { Button } from "../../components/Button";
import { Field } from "../../components/Field";
import { Logo } from "../../components/Logo";
import { ErrorNote } from "../../components/Page";
import { api, ApiError, data } from "../../lib/api";
import { useTitle } from "../../lib/page";
import { queryClient, sessionQuery } from "../../lib/query";

export function SignInPage() {
  const { next } = useSearch({ from: "/signin" });
  const navigate = useNavigate();
  const router = useRouter();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const signIn = useMutation({
    mutationFn: () => data(api.POST("/session", { body: { email: email.trim(), password } })),
    onSuccess: async (session) => {
      queryClient.clear();
      queryClient.setQueryData(sessionQuery.queryKey, session);
      if (next) router.history.replace(next);
      else await navigate({ to: "/", replace: true });
    },
  });
  useTitle(signIn.isError ? "Could not sign in" : "Sign in");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn.mutate();
  };
  const refused = signIn.error instanceof ApiError && (signIn.error.code === "unauthorized" || signIn.error.code === "invalid");
  return (
    <main className="grid min-h-dvh place-items-center p-4">
      <div className="w-full max-w-90">
        <div className="mb-6 flex items-center gap-3">
          <Logo size={28} />
          <h1 className="text-lead font-medium">Sign in to Midwatch</h1>
        </div>
        <form onSubmit={submit} className="flex flex-col gap-4">
          <Field label="E-mail" type="email" autoComplete="username" required autoFocus value={email} onChange={(event) => setEmail(event.target.value)} />
          <Field
            label="Password"
            type="password"
            autoComplete="current-password"
            required
            value={password}
            onChange={(event) => setPassword(event.target.value)}
            error={refused ? "This e-mail and password do not go together. Check both and try again." : undefined}
          />
          {signIn.error && !refused && <ErrorNote error={signIn.error} />}
          <Button type="submit" kind="primary" className="min-h-9" disabled={signIn.isPending}>
            {signIn.isPending ? "Signing in…" : "Sign in"}
          </Button>
        </form>
        <p className="mt-6 text-data text-muted">
          On a first start, Midwatch prints the e-mail and the password once, where it was started.
        </p>
        <div role="status" aria-live="polite" className="sr-only">
          {refused && "Not signed in: this e-mail and password do not go together."}
        </div>
      </div>
    </main>
  );
}
