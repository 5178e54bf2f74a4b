package checkin

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

const (
	ok      = telemetrypb.CheckinStatus_CHECKIN_STATUS_OK
	failed  = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
	started = telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS
	note    = telemetrypb.CheckinStatus_CHECKIN_STATUS_LOG

	id  = "6c1f0e7a-2f3b-4c5d-8e9f-a0b1c2d3e4f5"
	key = "0123456789abcdef0123456789abcdef"
)

func TestParsePath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]Ping{
		id:                                   {{UUID: id, Status: ok}},
		strings.ToUpper(id):                  {{UUID: id, Status: ok}},
		id + "/":                             {{UUID: id, Status: ok}},
		id + "/start":                        {{UUID: id, Status: started}, {Key: id, Slug: "start", Status: ok}},
		id + "/fail/":                        {{UUID: id, Status: failed}, {Key: id, Slug: "fail", Status: ok}},
		id + "/0":                            {{UUID: id, Status: ok, HasExitCode: true}, {Key: id, Slug: "0", Status: ok}},
		id + "/job":                          {{Key: id, Slug: "job", Status: ok}},
		key + "/job":                         {{Key: key, Slug: "job", Status: ok}},
		key + "/job/":                        {{Key: key, Slug: "job", Status: ok}},
		key + "/start":                       {{Key: key, Slug: "start", Status: ok}},
		key + "/job/start":                   {{Key: key, Slug: "job", Status: started}},
		key + "/job/fail":                    {{Key: key, Slug: "job", Status: failed}},
		key + "/job/log/":                    {{Key: key, Slug: "job", Status: note}},
		key + "/job/0":                       {{Key: key, Slug: "job", Status: ok, HasExitCode: true}},
		key + "/job/255":                     {{Key: key, Slug: "job", Status: failed, ExitCode: 255, HasExitCode: true}},
		key + "/a_b-c/137":                   {{Key: key, Slug: "a_b-c", Status: failed, ExitCode: 137, HasExitCode: true}},
		key + "/" + strings.Repeat("x", 100): {{Key: key, Slug: strings.Repeat("x", 100), Status: ok}},
	} {
		got, err := ParsePath(path)
		if err != nil {
			t.Errorf("ParsePath(%q): %v", path, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ParsePath(%q) (-want +got):\n%s", path, diff)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]error{
		"":                                   ErrNotFound,
		"/":                                  ErrNotFound,
		key:                                  ErrNotFound,
		key + "//":                           ErrNotFound,
		key + "/job/stop":                    ErrNotFound,
		key + "/job/-1":                      ErrNotFound,
		key + "/job/start/x":                 ErrNotFound,
		key + "/Job":                         ErrInvalid,
		key + "/job one":                     ErrInvalid,
		key + "/" + strings.Repeat("x", 101): ErrInvalid,
		key + "/job/256":                     ErrInvalid,
		key + "/job/99999999999999":          ErrInvalid,
		id + "/256":                          ErrInvalid,
		strings.Repeat("x/", 1000):           ErrNotFound,
	} {
		if got, err := ParsePath(path); !errors.Is(err, want) {
			t.Errorf("ParsePath(%q) = %v, %v, want %v", path, got, err, want)
		}
	}
}

func TestHealthchecksTakesWhatARunWas(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[string]time.Duration{
		"2.5": 2500 * time.Millisecond, "0.0004": 0, "86400": 24 * time.Hour, "": 0, "-1": 0, "NaN": 0, "Inf": 0, "1e99": 0, "soon": 0,
	} {
		if r, err := Healthchecks(id, url.Values{"duration": {seconds}}); err != nil || r.Duration != want {
			t.Errorf("duration=%s is %s, %v, want %s", seconds, r.Duration, err, want)
		}
	}
	for s, want := range map[string]string{
		"": "", "staging": "staging", "a\xff\x00b": "a\uFFFD\uFFFDb", strings.Repeat("x", 63) + "ä": strings.Repeat("x", 63),
	} {
		if r, err := Healthchecks(id, url.Values{"environment": {s}}); err != nil || r.Environment != want {
			t.Errorf("environment=%q is %q, %v, want %q", s, r.Environment, err, want)
		}
	}
}

func TestParseRunID(t *testing.T) {
	t.Parallel()
	if got, err := ParseRunID(id); err != nil || len(got) != 16 {
		t.Errorf("run id: %x, %v", got, err)
	}
	for _, s := range []string{"", "x", "1", "{" + id + "}", "urn:uuid:" + id, id + "0"} {
		if got, err := ParseRunID(s); !errors.Is(err, ErrInvalidUUID) {
			t.Errorf("ParseRunID(%q) = %x, %v", s, got, err)
		}
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	if got := Body([]byte("a\x00b\xffc")); got != "a\uFFFDb\uFFFDc" {
		t.Errorf("odd bytes: %q", got)
	}
	for _, b := range []string{strings.Repeat("x", 200_000), strings.Repeat("é", 90_000), strings.Repeat("\xff ", 90_000)} {
		if got := Body([]byte(b)); len(got) > MaxBodyBytes || len(got) < MaxBodyBytes-5 || !utf8.ValidString(got) {
			t.Errorf("body of %d bytes, valid: %t", len(got), utf8.ValidString(got))
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{id, id + "/start", key + "/job/7", "//", key + "/job/\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		readings, err := ParsePath(path)
		if (err == nil) != (len(readings) > 0) {
			t.Fatalf("ParsePath(%q) = %v, %v", path, readings, err)
		}
		for _, p := range readings {
			if (p.UUID == "") == (p.Key == "" || p.Slug == "") || p.ExitCode > 255 || p.Status == 0 {
				t.Fatalf("ParsePath(%q) = %+v", path, p)
			}
		}
	})
}
