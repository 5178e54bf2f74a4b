package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/midwatch/midwatch/alerts/probe"
)

const probeUsage = `Runs the uptime and TLS probes of your projects from this machine, as a region of its own.

Usage: midwatch probe --region <name> [flags]

  --region NAME           what this place is called in probes: eu-west, office; 1 to 50 lower-case
                          letters, digits and hyphens
  --url URL               of Midwatch; by default MIDWATCH_URL or http://127.0.0.1:8080
  --token TOKEN           an API token; by default MIDWATCH_API_TOKEN, or the file that
                          MIDWATCH_API_TOKEN_FILE names (other users can read flags in the list of processes)
  --allow-private RANGE   a network that is not public and may be asked all the same: 10.0.0.0/8; may be
                          given several times; beside those in MIDWATCH_PROBE_ALLOW

It asks Midwatch every 15 seconds which probes there are, runs those that are for every region or
for this one, and sends what came of them to their projects. It keeps nothing: run one in each place
that you want to ask from, and start it again whenever you like. While Midwatch is away it goes on
with the last list, and holds the results of up to an hour.

  MIDWATCH_API_TOKEN_FILE=/etc/midwatch/token midwatch probe --region eu-west --url https://midwatch.example.org

Exit status: 0 stopped by a signal, 1 it could not begin, 2 wrong usage.
`

const (
	probeAskTimeout = 10 * time.Second
	// keyLifetime is for how long a project's ingest key is not asked for again.
	keyLifetime = 5 * time.Minute
	// maxProbeAnswerBytes is beyond the list of the most probes that a project can have.
	maxProbeAnswerBytes = 8 << 20
)

// probeCall is what the command line says.
type probeCall struct {
	region, url, token string
	allow              []netip.Prefix
}

// Probe carries out `midwatch probe` until ctx ends. Errors are ErrUsage or say what did not work.
func Probe(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	c, err := parseProbeCall(args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		_, err := io.WriteString(out, probeUsage)
		return err
	}
	if err != nil {
		return err
	}
	source := &apiProbes{base: c.url, token: c.token, http: &http.Client{
		Timeout: probeAskTimeout,
		// A token goes where it was meant to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	// What is wrong with the address or the token is said at once; later it would be waited out.
	projects, err := source.Projects(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status < http.StatusInternalServerError && refused.status != http.StatusTooManyRequests {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	source.first.Store(&listing{projects, err})
	mine := 0
	for _, project := range projects {
		for _, p := range project.Probes {
			if p.RunsIn(c.region) {
				mine++
			}
		}
	}
	log.Info("probing", "region", c.region, "url", c.url, "projects", len(projects), "probes", mine)
	prober := probe.New(probe.Config{Region: c.region, Allow: c.allow, AllowedBy: probe.AllowVariable + " or --allow-private of the probe's process"})
	return probe.NewRunner(c.url, prober, source, log).Run(ctx)
}

func parseProbeCall(args []string, getenv func(string) string) (probeCall, error) {
	wrong := func(format string, args ...any) (probeCall, error) {
		return probeCall{}, fmt.Errorf("%w: %w (`midwatch probe --help` says more)", ErrUsage, fmt.Errorf(format, args...))
	}
	var c probeCall
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.region, "region", "", "")
	flags.StringVar(&c.url, "url", "", "")
	flags.StringVar(&c.token, "token", "", "")
	flags.Func("allow-private", "", func(text string) error { return c.permit(text) })
	words, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp) || err == nil && len(words) == 1 && words[0] == "help":
		return c, flag.ErrHelp
	case err != nil:
		return wrong("%w", err)
	case len(words) > 0:
		return wrong("it takes flags only, not %q", words[0])
	case c.region == "":
		return wrong("name the place that it asks from by --region, such as --region eu-west")
	}
	if err := probe.ValidateRegion(c.region); err != nil {
		return wrong("--region %w", err)
	}
	if c.url == "" {
		c.url = getenv("MIDWATCH_URL")
	}
	if c.url == "" {
		c.url = defaultURL
	}
	u, err := url.Parse(c.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return wrong("MIDWATCH_URL (or --url) is not an address such as https://midwatch.example.org")
	}
	c.url = strings.TrimRight(c.url, "/")
	for text := range strings.SplitSeq(getenv(probe.AllowVariable), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if err := c.permit(text); err != nil {
			return wrong("%s: %w", probe.AllowVariable, err)
		}
	}
	if c.token == "" {
		if c.token, err = secret(getenv, "MIDWATCH_API_TOKEN"); err != nil {
			return probeCall{}, err
		}
	}
	if c.token == "" {
		return wrong("there is no API token: set MIDWATCH_API_TOKEN or MIDWATCH_API_TOKEN_FILE")
	}
	return c, nil
}

func (c *probeCall) permit(text string) error {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Errorf("%q is not a range of addresses such as 10.0.0.0/8", text)
	}
	c.allow = append(c.allow, prefix)
	return nil
}

// listing is an answer of a source.
type listing struct {
	projects []probe.Project
	err      error
}

// apiProbes is the source of probes that asks a Midwatch elsewhere. It is used by one goroutine at a time.
type apiProbes struct {
	base, token string
	http        *http.Client

	first atomic.Pointer[listing] // was asked for already
	keys  map[uint32]ingestKey
}

type ingestKey struct {
	key string
	at  time.Time
}

// Projects returns the projects that the token may see and that have probes.
func (a *apiProbes) Projects(ctx context.Context) ([]probe.Project, error) {
	if first := a.first.Swap(nil); first != nil {
		return first.projects, first.err
	}
	var list struct {
		Projects []struct {
			Number uint32 `json:"number"`
		} `json:"projects"`
	}
	if err := a.get(ctx, "/projects", &list); err != nil {
		return nil, err
	}
	projects := []probe.Project{}
	for _, one := range list.Projects {
		var answer struct {
			Probes []probe.Probe `json:"probes"`
		}
		path := fmt.Sprintf("/projects/%d", one.Number)
		if err := a.get(ctx, path+"/probes", &answer); err != nil {
			return nil, err
		}
		if len(answer.Probes) == 0 {
			continue
		}
		key, err := a.key(ctx, one.Number, path)
		if err != nil {
			return nil, err
		}
		projects = append(projects, probe.Project{Number: one.Number, Key: key, Probes: answer.Probes})
	}
	return projects, nil
}

func (a *apiProbes) key(ctx context.Context, number uint32, path string) (string, error) {
	if known, ok := a.keys[number]; ok && time.Since(known.at) < keyLifetime {
		return known.key, nil
	}
	var setup struct {
		IngestKey string `json:"ingest_key"`
	}
	if err := a.get(ctx, path+"/setup", &setup); err != nil {
		return "", err
	}
	if a.keys == nil {
		a.keys = map[uint32]ingestKey{}
	}
	a.keys[number] = ingestKey{setup.IngestKey, time.Now()}
	return setup.IngestKey, nil
}

// get asks the API and decodes its answer into out.
func (a *apiProbes) get(ctx context.Context, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/api/v1/midwatch"+path, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", a.base, err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.http.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err
		}
		if os.IsTimeout(err) {
			return fmt.Errorf("midwatch at %s did not answer within %s", a.base, probeAskTimeout)
		}
		return fmt.Errorf("midwatch does not answer at %s: %w", a.base, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbeAnswerBytes))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", a.base, err)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return &refusal{resp.StatusCode, fmt.Sprintf("%s does not know the API token: give one of its organisation by MIDWATCH_API_TOKEN", a.base)}
	case resp.StatusCode != http.StatusOK:
		return &refusal{resp.StatusCode, fmt.Sprintf("%s answers %s to GET %s; is it the address of Midwatch's pages?", a.base, resp.Status, path)}
	}
	if err := json.Unmarshal(body, out); err != nil {
		return &refusal{resp.StatusCode, fmt.Sprintf("what answers at %s is not Midwatch's API: %s", a.base, clean(err.Error()))}
	}
	return nil
}
