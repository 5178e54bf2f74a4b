package checkin

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func form(t *testing.T, s string) url.Values {
	t.Helper()
	v, err := url.ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCronitor(t *testing.T) {
	t.Parallel()
	named, err := ParseRunID(id)
	if err != nil {
		t.Fatal(err)
	}
	job := Ping{Key: key, Slug: "job", Status: ok}
	begun, bad, code := job, job, job
	begun.Status, bad.Status = started, failed
	bad.ExitCode, bad.HasExitCode = 3, true
	code.HasExitCode = true
	for query, want := range map[string]Report{
		"":                                       {Readings: []Ping{job}},
		"state=ok":                               {Readings: []Ping{job}},
		"state=complete":                         {Readings: []Ping{job}},
		"state=tick":                             {Readings: []Ping{job}},
		"state=run&series=" + id + "&host=web-1": {Readings: []Ping{begun}, Run: named},
		"state=fail&status_code=3&message=disk+full":               {Readings: []Ping{bad}, Message: "disk full"},
		"state=complete&status_code=0&msg=done&env=staging":        {Readings: []Ping{code}, Message: "done", Environment: "staging"},
		"state=ok&status_code=-1":                                  {Readings: []Ping{job}},
		"state=ok&metric=count:5&metric=duration:2.5":              {Readings: []Ping{job}, Duration: 2500 * time.Millisecond},
		"state=ok&duration=7":                                      {Readings: []Ping{job}, Duration: 7 * time.Second},
		"metric=duration:NaN&metric=duration:-1&metric=duration:x": {Readings: []Ping{job}},
		"env=" + strings.Repeat("e", 100):                          {Readings: []Ping{job}, Environment: strings.Repeat("e", 64)},
	} {
		want.Create = true
		got, err := Cronitor(key, "job", form(t, query))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Cronitor(%q): %v (-want +got):\n%s", query, err, diff)
		}
	}
	a, errA := Cronitor(key, "job", form(t, "state=run&series=1700000000.123"))
	b, errB := Cronitor(key, "job", form(t, "state=complete&series=1700000000.123"))
	c, errC := Cronitor(key, "job", form(t, "state=complete&series=2"))
	if errors.Join(errA, errB, errC) != nil || len(a.Run) != 16 || string(a.Run) != string(b.Run) || string(a.Run) == string(c.Run) {
		t.Errorf("series: %x, %x, %x", a.Run, b.Run, c.Run)
	}
	if _, err := Cronitor(key, "job", form(t, "state=paused")); !errors.Is(err, ErrInvalid) {
		t.Errorf("another state: %v", err)
	}
	if _, err := Cronitor(key, "", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("no monitor: %v", err)
	}
}

func TestSnitch(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]Report{
		"":             {Readings: []Ping{{UUID: id, Status: ok}}},
		"m=done&s=":    {Readings: []Ping{{UUID: id, Status: ok}}, Message: "done"},
		"s=0":          {Readings: []Ping{{UUID: id, Status: ok, HasExitCode: true}}},
		"s=2&m=no":     {Readings: []Ping{{UUID: id, Status: failed, ExitCode: 2, HasExitCode: true}}, Message: "no"},
		"s=1000":       {Readings: []Ping{{UUID: id, Status: failed}}},
		"s=it+went+up": {Readings: []Ping{{UUID: id, Status: failed}}},
	} {
		got, err := Snitch(strings.ToUpper(id)+"/", form(t, query))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Snitch(%q): %v (-want +got):\n%s", query, err, diff)
		}
	}
	for _, token := range []string{"", "c2354d53d2", id + "/fail"} {
		if got, err := Snitch(token, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("Snitch(%q) = %v, %v", token, got, err)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]Ping{
		id:           {UUID: id, Status: ok},
		id + "/":     {UUID: id, Status: ok},
		id + "/fail": {UUID: id, Status: failed},
		id + "/0":    {UUID: id, Status: ok, HasExitCode: true},
		id + "/137/": {UUID: id, Status: failed, ExitCode: 137, HasExitCode: true},
	} {
		got, err := Heartbeat(path)
		if diff := cmp.Diff(Report{Readings: []Ping{want}}, got); err != nil || diff != "" {
			t.Errorf("Heartbeat(%q): %v (-want +got):\n%s", path, err, diff)
		}
	}
	for path, want := range map[string]error{
		"": ErrNotFound, key: ErrNotFound, id + "/start": ErrNotFound, id + "/fail/1": ErrNotFound, id + "/256": ErrInvalid,
	} {
		if got, err := Heartbeat(path); !errors.Is(err, want) {
			t.Errorf("Heartbeat(%q) = %v, %v, want %v", path, got, err, want)
		}
	}
}

func FuzzCronitor(f *testing.F) {
	for _, s := range []string{"state=run&series=1", "state=fail&status_code=300&metric=duration:1e300", "env=\xff\x00&msg=%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		v, _ := url.ParseQuery(query)
		r, err := Cronitor(key, "job", v)
		if err != nil {
			return
		}
		if len(r.Run) != 0 && len(r.Run) != 16 || len(r.Environment) > maxEnvironment || r.Environment != strings.ToValidUTF8(r.Environment, "") ||
			r.Duration < 0 || r.Duration > maxDuration || r.Readings[0].ExitCode > 255 {
			t.Fatalf("Cronitor(%q) = %+v", query, r)
		}
	})
}
