package app

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

// welcome tells a person where everything is. Secrets are shown on the first start only, when
// they have just been made.
func welcome(out io.Writer, urls access.URLs, first catalog.Initialised, took time.Duration) {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "\nMidwatch is up after %.1f s.\n\n", took.Seconds())
	line("Open", "%s", urls.HTTP)
	if first.Created {
		line("Sign in as", "%s", first.Email)
		line("Password", "%s", madeOr(first.Password, "MIDWATCH_INIT_PASSWORD"))
		line("API token", "%s", madeOr(first.APIToken, "MIDWATCH_INIT_API_TOKEN"))
	} else {
		line("Sign in", "with the e-mail and password of the first start")
	}
	line("OTLP/HTTP", "%s", urls.OTLPHTTP)
	line("OTLP/gRPC", "%s", urls.OTLPGRPC)
	line("Sentry DSN", "%s", urls.DSN(first.Project))
	line("Ingest key", "%s", first.Project.IngestKey)
	fmt.Fprintf(&b, "\nSend a first log:\n\n  curl %s/v1/ingest/logs -H 'Authorization: Bearer %s' -d '{\"level\":\"info\",\"service\":\"shell\",\"message\":\"hello from the mid-watch\"}'\n\n",
		urls.HTTP, first.Project.IngestKey)
	io.WriteString(out, b.String())
}

// printFirst shows what migrate made on its first run.
func printFirst(out io.Writer, first catalog.Initialised) {
	if first.Created {
		fmt.Fprintf(out, "first user %s, password %s, ingest key %s, API token %s\n", first.Email,
			madeOr(first.Password, "MIDWATCH_INIT_PASSWORD"), first.Project.IngestKey, madeOr(first.APIToken, "MIDWATCH_INIT_API_TOKEN"))
	}
}

// madeOr is a secret that was made just now, or where the one that was given stands.
func madeOr(secret, variable string) string {
	if secret == "" {
		return "as given by " + variable
	}
	return secret
}
