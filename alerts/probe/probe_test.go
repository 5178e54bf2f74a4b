package probe

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestProbesAreValidWithTheirDefaults(t *testing.T) {
	for _, p := range []Probe{
		{Name: "Shop", Kind: HTTP, Target: "https://shop.example/health?deep=1"},
		{Name: "Shop", Kind: HTTP, Target: "http://[2606:4700::1]:8080", Method: "PUT", Body: "x", ExpectStatus: "200-299, 404", Headers: map[string]string{"Host": "a"}},
		{Name: "Database", Kind: TCP, Target: "db.shop.example:5432", TimeoutSeconds: 30, IntervalSeconds: 300, Regions: []string{"eu-1", "us"}, Need: 2},
		{Name: "Mail", Kind: TLS, Target: "203.0.113.5:465"},
		{Name: "Zone", Kind: DNS, Target: "_dmarc.shop.example", RecordType: "TXT", Resolver: "9.9.9.9", Contains: "v=DMARC1"},
		{Name: "Zone", Kind: DNS, Target: "shop.example.", Resolver: "[2620:fe::fe]:53"},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s %s: %v", p.Kind, p.Target, err)
		}
	}
}

func TestWhatIsWrongWithAProbeIsNamed(t *testing.T) {
	good := Probe{Name: "Shop", Kind: HTTP, Target: "https://shop.example"}
	for field, spoil := range map[string]func(*Probe){
		"name: a":                  func(p *Probe) { p.Name = " " },
		"name: only":               func(p *Probe) { p.Name = "a\nb" },
		"kind:":                    func(p *Probe) { p.Kind = "icmp" },
		"target: \"ftp":            func(p *Probe) { p.Target = "ftp://shop.example" },
		"target: put the password": func(p *Probe) { p.Target = "https://me:secret@shop.example" },
		"target: \"70000\"":        func(p *Probe) { p.Target = "https://shop.example:70000" },
		"target: \"shop\"":         func(p *Probe) { p.Kind, p.Target = TCP, "shop" },
		"method:":                  func(p *Probe) { p.Method = "CONNECT" },
		"body: GET":                func(p *Probe) { p.Body = "x" },
		"body: at most":            func(p *Probe) { p.Method, p.Body = "POST", strings.Repeat("x", maxBody+1) },
		"expect_status: \"99\"":    func(p *Probe) { p.ExpectStatus = "99" },
		"expect_status: \"3-2\"":   func(p *Probe) { p.ExpectStatus = "3-2" },
		"headers: \"a b\"":         func(p *Probe) { p.Headers = map[string]string{"a b": "x"} },
		"headers: connection":      func(p *Probe) { p.Headers = map[string]string{"connection": "x"} },
		"headers: the value":       func(p *Probe) { p.Headers = map[string]string{"X-A": "a\r\nb"} },
		"record_type, resolver":    func(p *Probe) { p.RecordType = "A" },
		"timeout_seconds":          func(p *Probe) { p.TimeoutSeconds = 31 },
		"interval_seconds":         func(p *Probe) { p.IntervalSeconds = 45 },
		"regions: \"EU\"":          func(p *Probe) { p.Regions = []string{"EU"} },
		"regions: eu is":           func(p *Probe) { p.Regions = []string{"eu", "eu"} },
		"need:":                    func(p *Probe) { p.Regions, p.Need = []string{"eu"}, 2 },
		"service:":                 func(p *Probe) { p.Service = strings.Repeat("x", 300) },
	} {
		p := good
		spoil(&p)
		if err := p.Validate(); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestAProbeIsDueOnceAnInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Probe{ID: rapid.String().Draw(t, "id"), IntervalSeconds: rapid.SampledFrom([]int{0, 30, 60, 300}).Draw(t, "interval")}
		now := time.UnixMilli(rapid.Int64Range(1_000_000, 4e12).Draw(t, "now"))
		first := p.Next(now)
		if wait := first.Sub(now); wait <= 0 || wait > p.Interval() {
			t.Fatalf("due after %s", wait)
		}
		if next := p.Next(first); next.Sub(first) != p.Interval() {
			t.Fatalf("due again after %s", next.Sub(first))
		}
	})
}

// saw reads "eu: a+ b-": what a region saw of probes.
func saw(lines ...string) (seen []Seen) {
	for _, line := range lines {
		region, list, _ := strings.Cut(line, ":")
		for one := range strings.FieldsSeq(list) {
			seen = append(seen, Seen{Probe: one[:len(one)-1], Region: region, OK: strings.HasSuffix(one, "+")})
		}
	}
	return seen
}

func TestRegionsAreJudgedTogether(t *testing.T) {
	for _, c := range []struct {
		what string
		p    Probe
		seen []Seen
		want Verdict
	}{
		{"one region is believed", Probe{}, saw("eu: a-"), Verdict{Status: Down, Failing: []string{"eu"}, Need: 1}},
		{"one region with nothing else to ask is believed", Probe{}, saw("eu: a- b- c-"), Verdict{Status: Down, Failing: []string{"eu"}, Need: 1}},
		{"one of three is not enough", Probe{}, saw("eu: a- b+", "us: a+", "ap: a+"), Verdict{Status: Up, Failing: []string{"eu"}, Passing: []string{"ap", "us"}, Need: 2}},
		{"two of three are", Probe{}, saw("eu: a-", "us: a- b+", "ap: a+"), Verdict{Status: Down, Failing: []string{"eu", "us"}, Passing: []string{"ap"}, Need: 2}},
		{"one of three where one is asked for", Probe{Need: 1}, saw("eu: a- b+", "us: a+", "ap: a+"), Verdict{Status: Down, Failing: []string{"eu"}, Passing: []string{"ap", "us"}, Need: 1}},
		{"a blind region is left out", Probe{Need: 1}, saw("eu: a- b-", "us: a+ b+", "ap: a+ b+"), Verdict{Status: Up, Passing: []string{"ap", "us"}, Blind: []string{"eu"}, Need: 1}},
		{"a region without anything in common is not blind", Probe{Need: 1}, saw("eu: a- b-", "us: c+"), Verdict{Status: TooFew, Failing: []string{"eu"}, Need: 1}},
		{"a total outage is one", Probe{}, saw("eu: a- b-", "us: a- b-", "ap: a- b-"), Verdict{Status: Down, Failing: []string{"ap", "eu", "us"}, Need: 2}},
		{"one of two that answers is too few", Probe{}, saw("eu: a- b-", "us: a+ b+"), Verdict{Status: TooFew, Passing: []string{"us"}, Blind: []string{"eu"}, Need: 2}},
		{"a region that says nothing is missed", Probe{Regions: []string{"eu", "us", "ap"}}, saw("eu: a-"), Verdict{Status: TooFew, Failing: []string{"eu"}, Need: 2}},
		{"a region of before does not count", Probe{Regions: []string{"eu"}}, saw("eu: a+", "us: a-"), Verdict{Status: Up, Passing: []string{"eu"}, Need: 1}},
		{"nobody knows", Probe{}, nil, Verdict{Status: TooFew, Need: 1}},
	} {
		c.p.ID = "a"
		if diff := cmp.Diff(c.want, Judge(c.p, c.seen)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}

func TestOneMoreFailureNeverMakesAProbeBetter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Probe{ID: "a", Need: rapid.IntRange(0, 4).Draw(t, "need")}
		var seen []Seen
		for _, region := range []string{"r1", "r2", "r3", "r4"} {
			// A second probe that answers keeps the region from being blind.
			seen = append(seen, Seen{"a", region, rapid.Bool().Draw(t, region)}, Seen{"b", region, true})
		}
		before := Judge(p, seen)
		at := rapid.IntRange(0, 3).Draw(t, "at") * 2
		seen[at].OK = false
		if after := Judge(p, seen); before.Status == Down && after.Status != Down {
			t.Fatalf("%+v became %+v", before, after)
		}
	})
}

func FuzzProbesFromDocuments(f *testing.F) {
	f.Add([]byte(`{"name":"Shop","kind":"http","target":"https://shop.example","headers":{"X":"y"},"regions":["eu"]}`))
	f.Add([]byte(`{"name":"Zone","kind":"dns","target":"shop.example","resolver":"::1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := Decode(body)
		if err != nil || p.Validate() != nil {
			return
		}
		if p.Timeout() > MaxTimeout || p.Interval() < DefaultInterval {
			t.Fatalf("%+v", p)
		}
		if next := p.Next(time.UnixMilli(1)); !next.After(time.UnixMilli(1)) {
			t.Fatalf("due at %s", next)
		}
	})
}
