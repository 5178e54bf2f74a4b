package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify/receivers"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
)

const rulesUsage = `Rules as code: alert rules, and who is told, in YAML files under version control.

Usage: midwatch rules <command> [flags]

  diff     show what apply would change; the exit status is 1 where it would change something
  apply    make the project what the files say; nothing is changed unless all of it is right.
           Before that it says of each rule that is new or changed, is live and pages, how often it would
           have paged in the last 30 days; what cannot be rehearsed is applied all the same
  rehearse say what the rules of the files would have done in the last days; nothing is changed
  export   print the project's rules as YAML that applies back to no difference

Flags:

  -f, --file PATH   a file, a folder with all .yaml files below it, or - for standard input;
                    may be given several times
  --project N       the project's number; by default MIDWATCH_PROJECT or 1
  --url URL         of Midwatch; by default MIDWATCH_URL or http://127.0.0.1:8080
  --token TOKEN     an API token; by default MIDWATCH_API_TOKEN, or the file that
                    MIDWATCH_API_TOKEN_FILE names (other users can read flags in the list of processes)
  --prune           of diff and apply: remove rules that came from files before and are in none now
  --no-rehearsal    of apply: do not ask what the rules would have done
  --days N          of rehearse: how far back to look, 1 to 30; 7 by default
  --all             of export: receivers, people, schedules, policies, teams, routes and windows too

A file holds one or more documents with --- between them. A document is a rule; one with "kind: team"
(or receiver, person, schedule, policy, routes, window) is that. The kind of a receiver is its "type".

Exit status: 0 done and no difference, 1 a difference or not done, 2 wrong usage.
`

// appliedBy is who changed what came from files, in the words of the server.
const appliedBy = "rules apply"

const (
	// contextLines is how much of what is the same a difference shows around what is not.
	contextLines = 3
	// maxDiffLines bounds the texts that are compared line by line.
	maxDiffLines = 3000
)

// rulesCall is what was asked for on the command line.
type rulesCall struct {
	out     io.Writer
	stdin   io.Reader
	base    string
	project string
	token   string
	files   []string
	prune   bool
	all     bool
	blind   bool // apply without a rehearsal
	days    int
	http    *http.Client
}

// Rules carries out `midwatch rules`. Errors are ErrUsage or say what did not work, or what differs.
func Rules(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, out io.Writer) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w (`midwatch rules --help` says more)", ErrUsage, fmt.Errorf(format, args...))
	}
	c := rulesCall{out: out, stdin: stdin, http: &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this address
	}}
	flags := flag.NewFlagSet("rules", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := func(path string) error {
		c.files = append(c.files, path)
		return nil
	}
	flags.Func("f", "", file)
	flags.Func("file", "", file)
	flags.StringVar(&c.project, "project", cmp.Or(getenv("MIDWATCH_PROJECT"), "1"), "")
	flags.StringVar(&c.base, "url", cmp.Or(getenv("MIDWATCH_URL"), "http://127.0.0.1:8080"), "")
	flags.StringVar(&c.token, "token", "", "")
	flags.BoolVar(&c.prune, "prune", false, "")
	flags.BoolVar(&c.all, "all", false, "")
	flags.BoolVar(&c.blind, "no-rehearsal", false, "")
	flags.IntVar(&c.days, "days", 7, "")
	words, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp) || err == nil && slices.Equal(words, []string{"help"}):
		_, err := io.WriteString(out, rulesUsage)
		return err
	case err != nil:
		return wrong("%w", err)
	case len(words) == 0:
		io.WriteString(out, rulesUsage)
		return flag.ErrHelp
	case len(words) > 1 || !slices.Contains([]string{"apply", "diff", "rehearse", "export"}, words[0]):
		return wrong("there is no command %q; it is one of apply, diff, rehearse, export", strings.Join(words, " "))
	case words[0] == "export" && (len(c.files) > 0 || c.prune):
		return wrong("export takes no -f and no --prune")
	case words[0] != "export" && c.all:
		return wrong("--all is for export")
	case words[0] != "apply" && c.blind:
		return wrong("--no-rehearsal is for apply")
	case words[0] != "export" && len(c.files) == 0:
		return wrong("%s needs -f with a file or a folder", words[0])
	}
	if n, err := strconv.ParseUint(c.project, 10, 32); err != nil || n == 0 {
		return wrong("--project is a project's number, not %q", c.project)
	}
	u, err := url.Parse(c.base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return wrong("--url is an address such as https://midwatch.example.org, not %q", c.base)
	}
	c.base = strings.TrimRight(c.base, "/")
	if c.token == "" {
		if c.token, err = secret(getenv, "MIDWATCH_API_TOKEN"); err != nil {
			return err
		}
	}
	if c.token == "" {
		return wrong("there is no API token: set MIDWATCH_API_TOKEN or MIDWATCH_API_TOKEN_FILE")
	}
	switch words[0] {
	case "export":
		return c.export(ctx)
	case "rehearse":
		return c.rehearse(ctx)
	}
	p, err := c.plan(ctx)
	if err != nil {
		return err
	}
	if words[0] == "diff" {
		return c.diff(p)
	}
	return c.apply(ctx, p)
}

// plan is what apply would do, in the order in which it can be done.
type plan struct {
	there  map[string]object // on the server
	files  []object          // in the order of what they name
	remove []object
}

// plan reads the files and the server, and refuses what is not right as a whole.
func (c rulesCall) plan(ctx context.Context) (plan, error) {
	files, err := readFiles(c.files, c.stdin)
	if err != nil {
		return plan{}, err
	}
	p := plan{there: map[string]object{}}
	for _, kind := range kindsInOrder {
		objects, err := c.read(ctx, kind)
		if err != nil {
			return plan{}, err
		}
		for _, o := range objects {
			p.there[o.key()] = o
		}
	}
	wanted := map[string]object{}
	for _, o := range files {
		wanted[o.key()] = o
	}
	for _, o := range p.there {
		if _, ok := wanted[o.key()]; !ok && c.prune && o.kind == incident.DocRule && o.by == appliedBy {
			p.remove = append(p.remove, o)
		}
	}
	after := map[string]object{}
	for key, o := range p.there {
		if !slices.ContainsFunc(p.remove, func(r object) bool { return r.key() == key }) {
			after[key] = o
		}
	}
	for i, o := range files {
		if o.kind == incident.DocReceiver {
			if o, err = withSecrets(o, p.there[o.key()]); err != nil {
				return plan{}, err
			}
			files[i] = o
		}
		after[o.key()] = o
	}
	if err := judge(files, after); err != nil {
		return plan{}, err
	}
	p.files = inOrder(files)
	slices.SortFunc(p.remove, func(a, b object) int { return cmp.Compare(a.id, b.id) })
	p.remove = inOrder(p.remove)
	slices.Reverse(p.remove) // those that name others go first
	return p, nil
}

// kindsInOrder are the kinds such that each is named by those after it.
var kindsInOrder = []string{
	incident.DocReceiver, incident.DocPerson, incident.DocSchedule, incident.DocPolicy, incident.DocTeam,
	incident.DocRoutes, incident.DocWindow, incident.DocRule,
}

// inOrder puts objects after those that they name.
func inOrder(objects []object) []object {
	by := make(map[string]object, len(objects))
	for _, o := range objects {
		by[o.key()] = o
	}
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b object) int {
		return cmp.Compare(slices.Index(kindsInOrder, a.kind), slices.Index(kindsInOrder, b.kind))
	})
	var sorted []object
	done := map[string]bool{}
	var visit func(o object)
	visit = func(o object) {
		if done[o.key()] {
			return
		}
		done[o.key()] = true
		for _, to := range incident.References(o.kind, o.body) {
			if named, ok := by[to.Kind+"/"+to.ID]; ok {
				visit(named)
			}
		}
		sorted = append(sorted, o)
	}
	for _, o := range objects {
		visit(o)
	}
	return sorted
}

// judge says all that is wrong with what files hold, where after is all that there will be.
func judge(files []object, after map[string]object) error {
	env := rule.Env{Active: func(text string) error {
		_, err := oncall.ParseActive(text)
		return err
	}}
	for _, o := range after {
		if o.kind == incident.DocRule {
			if r, err := strictly[rule.Rule](o.body); err == nil {
				env.Rules = append(env.Rules, r)
			}
		}
	}
	var errs []error
	for _, o := range files {
		for _, to := range incident.References(o.kind, o.body) {
			if _, ok := after[to.Kind+"/"+to.ID]; !ok && to.Kind != incident.DocRule {
				errs = append(errs, o.wrong(to.Field, "there is no %s %q, on the server or in the files", to.Kind, to.ID))
			}
		}
		if o.kind != incident.DocRule {
			continue
		}
		r, err := strictly[rule.Rule](o.body)
		if err != nil {
			errs = append(errs, o.wrong("", "%s", err))
			continue
		}
		if invalid, ok := errors.AsType[*rule.Invalid](rule.Validate(r, env)); ok {
			for _, problem := range invalid.Problems {
				errs = append(errs, o.wrong(problem.Field, "%s", problem.Message))
			}
		}
	}
	return errors.Join(errs...)
}

// withSecrets completes a receiver of a file with what the server shows of its secrets, so that what is
// left out is no difference, and judges one that has all of its own.
func withSecrets(o, there object) (object, error) {
	r, err := strictly[receivers.Receiver](o.body)
	if err != nil {
		return o, o.wrong("", "%s", err)
	}
	var settings, shown map[string]json.RawMessage
	if err := json.Unmarshal(r.Settings, &settings); err != nil {
		return o, o.wrong("settings", "%s", err)
	}
	if there.body == nil {
		for name, v := range settings {
			if masked(v) {
				return o, o.wrong("settings."+name, "it is masked, and the server does not have it: write it in full")
			}
		}
		if err := r.Validate(); err != nil {
			return o, o.explain(err, o.body)
		}
		return o, nil
	}
	kept, err := strictly[receivers.Receiver](there.body)
	if err != nil || json.Unmarshal(kept.Settings, &shown) != nil || kept.Kind != r.Kind {
		return o, nil
	}
	for name, v := range shown {
		if _, given := settings[name]; !given && masked(v) {
			settings[name] = v
		}
	}
	if r.Settings, err = json.Marshal(settings); err != nil {
		return o, err
	}
	o.body, err = json.Marshal(r)
	return o, err
}

func masked(v json.RawMessage) bool {
	return bytes.Contains(v, []byte("…")) || bytes.Contains(v, []byte(`\u2026`))
}

// comparable is the text of an object in which two that mean the same are the same.
func (o object) comparable(there object) (string, error) {
	if o.kind != incident.DocReceiver {
		return o.text()
	}
	r, err := strictly[receivers.Receiver](o.body)
	if err != nil {
		return "", err
	}
	// What is written in full is compared by what is shown of it.
	var settings, hidden map[string]json.RawMessage
	if json.Unmarshal(r.Settings, &settings) == nil && json.Unmarshal(r.Masked().Settings, &hidden) == nil && there.body != nil {
		for name, v := range settings {
			if !masked(v) {
				settings[name] = hidden[name]
			}
		}
		if r.Settings, err = json.Marshal(settings); err != nil {
			return "", err
		}
		if o.body, err = json.Marshal(r); err != nil {
			return "", err
		}
	}
	return o.text()
}

// difference is the changed lines of an object; empty where there are none.
func (p plan) difference(o object) (string, error) {
	there := p.there[o.key()]
	after, err := o.comparable(there)
	if err != nil {
		return "", err
	}
	before := ""
	if there.body != nil {
		if before, err = there.text(); err != nil {
			return "", err
		}
	}
	return lineDiff(before, after), nil
}

// diff prints what apply would change.
func (c rulesCall) diff(p plan) error {
	var made, changed int
	for _, o := range p.files {
		lines, err := p.difference(o)
		if err != nil {
			return err
		}
		if lines == "" {
			continue
		}
		from := o.String() + " (midwatch)"
		if p.there[o.key()].body == nil {
			from = "(new)"
			made++
		} else {
			changed++
		}
		fmt.Fprintf(c.out, "--- %s\n+++ %s (%s)\n%s", from, o, o.at(""), lines)
	}
	for _, o := range p.remove {
		text, err := o.text()
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "--- %s (midwatch)\n+++ (removed)\n%s", o, lineDiff(text, ""))
	}
	if made+changed+len(p.remove) == 0 {
		_, err := fmt.Fprintf(c.out, "No difference: %s.\n", objects(len(p.files)))
		return err
	}
	return fmt.Errorf("%d to create, %d to change, %d to remove", made, changed, len(p.remove))
}

func objects(n int) string {
	if n == 1 {
		return "1 object"
	}
	return strconv.Itoa(n) + " objects"
}

// apply makes the project what the files say.
func (c rulesCall) apply(ctx context.Context, p plan) error {
	if !c.blind {
		if err := c.foretell(ctx, p); err != nil {
			return err
		}
	}
	for _, o := range p.files {
		lines, err := p.difference(o)
		if err != nil {
			return err
		}
		there, known := p.there[o.key()]
		word := "created"
		switch {
		case lines == "":
			// What was made by hand and is in a file now belongs to the file.
			if o.kind != incident.DocRule || there.by == appliedBy {
				fmt.Fprintf(c.out, "%s unchanged\n", o)
				continue
			}
			word = "adopted"
		case known:
			word = "changed"
		}
		// The version makes sure that nobody's change of this moment is lost.
		path := fmt.Sprintf("%s?source=apply&version=%d", o.path(), there.version)
		if err := c.ask(ctx, http.MethodPut, path, o.body, nil); err != nil {
			return c.refused(o, err)
		}
		fmt.Fprintf(c.out, "%s %s\n", o, word)
	}
	for _, o := range p.remove {
		if err := c.ask(ctx, http.MethodDelete, o.path(), nil, nil); err != nil {
			return c.refused(o, err)
		}
		fmt.Fprintf(c.out, "%s removed\n", o)
	}
	return nil
}

func (o object) path() string {
	if o.kind == incident.DocRoutes {
		return "/routes"
	}
	return "/" + forms[o.kind].plural + "/" + url.PathEscape(o.id)
}

// refused says where in the files stands what the server does not take.
func (c rulesCall) refused(o object, err error) error {
	answer, ok := errors.AsType[*apiError](err)
	if !ok {
		return fmt.Errorf("%s: %w", o, err)
	}
	if len(answer.Problems) == 0 {
		return o.wrong("", "%s", answer.Message)
	}
	errs := make([]error, len(answer.Problems))
	for i, p := range answer.Problems {
		errs[i] = o.wrong(p.Field, "%s", clean(p.Message))
	}
	return errors.Join(errs...)
}

// export prints what there is as YAML.
func (c rulesCall) export(ctx context.Context) error {
	kinds := []string{incident.DocRule}
	if c.all {
		kinds = kindsInOrder
	}
	first := true
	for _, kind := range kinds {
		all, err := c.read(ctx, kind)
		if err != nil {
			return err
		}
		for _, o := range all {
			text, err := o.text()
			if err != nil {
				return err
			}
			if !first {
				text = "---\n" + text
			}
			first = false
			if _, err := io.WriteString(c.out, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// read returns the server's objects of a kind.
func (c rulesCall) read(ctx context.Context, kind string) ([]object, error) {
	type stored struct {
		Meta struct {
			ID        string `json:"id"`
			Version   int64  `json:"version"`
			UpdatedBy string `json:"updated_by"`
		} `json:"meta"`
	}
	var rows []json.RawMessage
	own := kind
	if kind == incident.DocRoutes {
		var one json.RawMessage
		if err := c.ask(ctx, http.MethodGet, "/routes", nil, &one); err != nil {
			return nil, err
		}
		rows = append(rows, one)
	} else {
		var list map[string][]json.RawMessage
		if err := c.ask(ctx, http.MethodGet, "/"+forms[kind].plural, nil, &list); err != nil {
			return nil, err
		}
		rows = list[forms[kind].plural]
	}
	var all []object
	for _, row := range rows {
		var s stored
		var body map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(row, &s), json.Unmarshal(row, &body)); err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
		}
		if s.Meta.Version == 0 {
			continue // routes that nobody has made
		}
		all = append(all, object{kind: kind, id: s.Meta.ID, body: body[own], version: s.Meta.Version, by: s.Meta.UpdatedBy})
	}
	return all, nil
}

// apiError is what the server says of a request that it refuses.
type apiError struct {
	Message   string         `json:"message"`
	RequestID string         `json:"request_id"`
	Problems  []rule.Problem `json:"problems"`
}

func (e *apiError) Error() string { return e.Message }

// ask sends a request about the project.
func (c rulesCall) ask(ctx context.Context, method, path string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1/midwatch/projects/"+c.project+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.base, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err
		}
		if os.IsTimeout(err) {
			return fmt.Errorf("midwatch at %s did not answer within %s", c.base, requestTimeout.Round(time.Second))
		}
		return fmt.Errorf("nothing answers at %s (%w); name the address of Midwatch with --url or MIDWATCH_URL", c.base, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode >= 300 {
		answer := &apiError{}
		if json.Unmarshal(data, answer) != nil || answer.Message == "" {
			answer.Message = fmt.Sprintf("%s answers %s", c.base, resp.Status)
		}
		if resp.StatusCode >= 500 && answer.RequestID != "" {
			answer.Message += " (request_id " + answer.RequestID + ")"
		}
		answer.Message = clean(answer.Message)
		return answer
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s is no address of Midwatch: its answer cannot be read: %w", c.base, err)
	}
	return nil
}

// lineDiff is what differs between two texts, with a little of what is the same; empty if nothing does.
func lineDiff(before, after string) string {
	if before == after {
		return ""
	}
	a, b := splitLines(before), splitLines(after)
	type edit struct {
		sign byte
		line string
	}
	var edits []edit
	if len(a) > maxDiffLines || len(b) > maxDiffLines {
		for _, l := range a {
			edits = append(edits, edit{'-', l})
		}
		for _, l := range b {
			edits = append(edits, edit{'+', l})
		}
	} else {
		// common[i][j] is how many lines a[i:] and b[j:] have in common, in order.
		common := make([][]int, len(a)+1)
		for i := range common {
			common[i] = make([]int, len(b)+1)
		}
		for i, left := range slices.Backward(a) {
			for j, right := range slices.Backward(b) {
				if left == right {
					common[i][j] = common[i+1][j+1] + 1
				} else {
					common[i][j] = max(common[i+1][j], common[i][j+1])
				}
			}
		}
		for i, j := 0, 0; i < len(a) || j < len(b); {
			switch {
			case i < len(a) && j < len(b) && a[i] == b[j]:
				edits = append(edits, edit{' ', a[i]})
				i, j = i+1, j+1
			case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
				edits = append(edits, edit{'-', a[i]})
				i++
			default:
				edits = append(edits, edit{'+', b[j]})
				j++
			}
		}
	}
	var out strings.Builder
	shown := -1
	for i, e := range edits {
		near := slices.ContainsFunc(edits[max(i-contextLines, 0):min(i+contextLines+1, len(edits))], func(e edit) bool { return e.sign != ' ' })
		if !near {
			continue
		}
		if i > shown+1 {
			out.WriteString("@@\n")
		}
		shown = i
		out.WriteByte(e.sign)
		out.WriteString(e.line)
		out.WriteByte('\n')
	}
	return out.String()
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
