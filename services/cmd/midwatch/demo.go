package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/midwatch/midwatch/services/app"
	"github.com/midwatch/midwatch/services/cli"
	"github.com/midwatch/midwatch/services/demo"
)

// demoHours is how much past the demo sends when nothing else is said.
const demoHours = 6

// demoBeside runs the demo, past and running present, beside `up`.
func demoBeside(out io.Writer) func(context.Context, app.Address) error {
	return func(ctx context.Context, a app.Address) error {
		return demo.Run(ctx, demo.Options{
			URL: a.URLs.HTTP, OTLPURL: a.URLs.OTLPHTTP, Key: a.Project.IngestKey, Project: a.Project.Number,
			Hours: demoHours, Live: true, Seed: 1, Now: time.Now(), Out: out, Told: applyRules(a.URLs.HTTP, a.APIToken, a.Project.Number, out),
		})
	}
}

// applyRules makes the alert rules of the shop those of the project, unless there is no token. Without them
// the demo is still worth to be seen.
func applyRules(base, token string, project uint32, out io.Writer) func(context.Context) error {
	if token == "" {
		return nil
	}
	settings := map[string]string{"MIDWATCH_URL": base, "MIDWATCH_API_TOKEN": token, "MIDWATCH_PROJECT": strconv.FormatUint(uint64(project), 10)}
	return func(ctx context.Context) error {
		getenv := func(name string) string { return settings[name] }
		if err := cli.Rules(ctx, []string{"apply", "-f", "-"}, getenv, strings.NewReader(demo.Rules), out); err != nil {
			fmt.Fprintln(out, "no alert rules:", err)
		}
		return nil
	}
}

// runDemo fills a project with the data of a small shop through the real intake.
func runDemo(ctx context.Context, args, environ []string, out io.Writer) error {
	o := demo.Options{Now: time.Now(), Out: out}
	variables := env.ToMap(environ)
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, "Fills a project with the data of a small shop: three services, deploys, a bad release,\na leaking worker, a late job, and alert rules. With -live another bad release comes after some minutes.\n\nUsage: midwatch demo [flags]\n\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.URL, "url", "http://127.0.0.1:8080", "the HTTP `address` of Midwatch")
	flags.StringVar(&o.OTLPURL, "otlp-url", "", "the OTLP/HTTP `address`; the HTTP address when empty")
	flags.StringVar(&o.Key, "key", variables["MIDWATCH_INIT_INGEST_KEY"], "the project's ingest `key`; by default MIDWATCH_INIT_INGEST_KEY")
	token := flags.String("token", cmp.Or(variables["MIDWATCH_API_TOKEN"], variables["MIDWATCH_INIT_API_TOKEN"]),
		"an API `token`, without which there are no alert rules; by default MIDWATCH_API_TOKEN or MIDWATCH_INIT_API_TOKEN")
	project := flags.Uint("project", 1, "the project's `number`")
	flags.Float64Var(&o.Hours, "hours", demoHours, "how many `hours` of past to send")
	flags.BoolVar(&o.Live, "live", false, "go on with a running present until interrupted")
	flags.Int64Var(&o.Seed, "seed", 1, "another `seed` gives other numbers of the same story")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("demo takes flags only, not %q", flags.Arg(0))
	}
	if o.Key == "" {
		return errors.New("demo needs the project's ingest key: -key, or MIDWATCH_INIT_INGEST_KEY")
	}
	if o.OTLPURL == "" {
		o.OTLPURL = o.URL
	}
	o.Project = uint32(*project)
	o.Told = applyRules(o.URL, *token, o.Project, out)
	return demo.Run(ctx, o)
}
