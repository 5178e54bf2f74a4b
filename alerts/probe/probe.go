// Package probe asks addresses from outside whether they answer: over HTTP, by a TCP connection, by
// a lookup of a name, by a TLS handshake. A Prober carries out one probe; a Runner carries out
// many, each on its own clock, and sends what came of them as metrics and logs to Midwatch's intake,
// so that a process that probes keeps nothing. Judge makes one verdict of what several regions saw.
package probe

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// DocumentKind is the kind of the catalog's documents whose body is a Probe.
const DocumentKind = "probe"

// AllowVariable is the environment variable with the networks that are not public and that the
// probes of a server may ask all the same.
const AllowVariable = "MIDWATCH_PROBE_ALLOW"

// Kind is how a probe asks.
type Kind string

// The kinds.
const (
	HTTP Kind = "http"
	TCP  Kind = "tcp"
	DNS  Kind = "dns"
	TLS  Kind = "tls"
)

// What a probe can be.
const (
	DefaultTimeout  = 10 * time.Second
	MaxTimeout      = 30 * time.Second
	DefaultInterval = 30 * time.Second
	DefaultStatus   = "200-399"

	// MaxPerProject is how many probes a project has at most.
	MaxPerProject = 50

	maxID         = 64
	maxName       = 200
	maxTarget     = 2000
	maxHeaders    = 20
	maxHeaderName = 100
	maxHeader     = 2000
	maxBody       = 16 << 10
	maxContains   = 1000
	maxStatus     = 100
	maxRegions    = 20
	maxService    = 200
	maxPort       = 65535
)

var (
	intervals   = []time.Duration{30 * time.Second, time.Minute, 5 * time.Minute}
	methods     = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	recordTypes = []string{"A", "AAAA", "CNAME", "MX", "TXT", "NS"}
	// ownHeaders belong to the connection or to this client.
	ownHeaders = []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect"}

	region     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,49}$`)
	headerName = regexp.MustCompile(`^[0-9A-Za-z!#$%&'*+.^_|~-]+$`)
	domain     = regexp.MustCompile(`^([0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?\.)*[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?\.?$`)
)

// Probe is what to ask, how often, from where, and what to expect. The zero value of a field is its
// default; the body of a document of kind DocumentKind is its JSON.
type Probe struct {
	// ID is given by the catalog. It names the probe in metrics and decides when its turn is.
	ID   string `json:"id,omitempty"`
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Target is a URL for http, host:port for tcp and tls, a domain name for dns.
	Target string `json:"target"`

	// Of http.
	Method          string            `json:"method,omitempty"` // GET
	Headers         map[string]string `json:"headers,omitempty"`
	Body            string            `json:"body,omitempty"`
	ExpectStatus    string            `json:"expect_status,omitempty"` // "200-399", or a list such as "200,301-308"
	FollowRedirects bool              `json:"follow_redirects,omitempty"`
	// Contains is a text that the answer has to hold: http in the first MiB of its body, dns in one of its records.
	Contains string `json:"contains,omitempty"`

	// Of dns. Resolver is the server that is asked, host or host:port; empty is the machine's own.
	RecordType string `json:"record_type,omitempty"` // A
	Resolver   string `json:"resolver,omitempty"`

	TimeoutSeconds  int `json:"timeout_seconds,omitempty"`  // 10, at most 30
	IntervalSeconds int `json:"interval_seconds,omitempty"` // 30, 60 or 300
	// Regions are where to ask from; none is everywhere.
	Regions []string `json:"regions,omitempty"`
	// Need is in how many regions it has to fail to be down; 0 is more than half of them.
	Need int `json:"need,omitempty"`
	// Service is the label under which alerts find what the probe is about.
	Service string `json:"service,omitempty"`
	Paused  bool   `json:"paused,omitempty"`
}

// Timeout is how long one run takes at most.
func (p Probe) Timeout() time.Duration {
	if p.TimeoutSeconds == 0 {
		return DefaultTimeout
	}
	return time.Duration(p.TimeoutSeconds) * time.Second
}

// Interval is the time from one run to the next.
func (p Probe) Interval() time.Duration {
	if p.IntervalSeconds == 0 {
		return DefaultInterval
	}
	return time.Duration(p.IntervalSeconds) * time.Second
}

// RunsIn reports whether the probe is for a region.
func (p Probe) RunsIn(region string) bool {
	return !p.Paused && (len(p.Regions) == 0 || slices.Contains(p.Regions, region))
}

// Next is the first moment after now at which the probe is due. Its place within the interval
// follows from its id, so that it stays where it is and not all are due at once.
func (p Probe) Next(now time.Time) time.Time {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(p.ID)) // it cannot fail
	every := p.Interval().Milliseconds()
	offset := int64(hash.Sum64() % uint64(every))
	slot := (now.UnixMilli() - offset) / every
	return time.UnixMilli((slot+1)*every + offset)
}

// Validate returns an error that names the field that is wrong, in words for a person.
func (p Probe) Validate() error {
	for _, check := range []func() error{p.validateNames, p.validateTarget, p.validateRequest, p.validateTimes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (p Probe) validateNames() error {
	if len(p.ID) > maxID {
		return fmt.Errorf("id: at most %d characters", maxID)
	}
	if strings.TrimSpace(p.Name) == "" {
		return fmt.Errorf("name: a name is needed")
	}
	if err := line("name", p.Name, maxName); err != nil {
		return err
	}
	if err := line("service", p.Service, maxService); err != nil {
		return err
	}
	if len(p.Regions) > maxRegions {
		return fmt.Errorf("regions: at most %d", maxRegions)
	}
	for i, one := range p.Regions {
		if err := ValidateRegion(one); err != nil {
			return fmt.Errorf("regions: %w", err)
		}
		if slices.Contains(p.Regions[:i], one) {
			return fmt.Errorf("regions: %s is there twice", one)
		}
	}
	if p.Need < 0 || p.Need > maxRegions || len(p.Regions) > 0 && p.Need > len(p.Regions) {
		return fmt.Errorf("need: %d is not from 1 to the number of regions", p.Need)
	}
	return nil
}

// ValidateRegion says what is wrong with the name of a region.
func ValidateRegion(name string) error {
	if !region.MatchString(name) {
		return fmt.Errorf("%q is not 1 to 50 lower-case letters, digits and hyphens", name)
	}
	return nil
}

func (p Probe) validateTarget() error {
	if err := line("target", p.Target, maxTarget); err != nil {
		return err
	}
	switch p.Kind {
	case HTTP:
		u, err := url.Parse(p.Target)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" {
			return fmt.Errorf("target: %q is not an address such as https://shop.example/health", p.Target)
		}
		if u.User != nil {
			return fmt.Errorf("target: put the password into the header Authorization, not into the address")
		}
		if port := u.Port(); port != "" && !isPort(port) {
			return fmt.Errorf("target: %q is not a port from 1 to %d", port, maxPort)
		}
		return validateHost("target", u.Hostname())
	case TCP, TLS:
		return validateHostPort("target", p.Target)
	case DNS:
		if len(p.Target) > 254 || !domain.MatchString(p.Target) {
			return fmt.Errorf("target: %q is not a domain name such as shop.example", p.Target)
		}
		if p.Resolver != "" {
			return validateHostPort("resolver", withPort(p.Resolver, "53"))
		}
		return nil
	}
	return fmt.Errorf("kind: %q is none of http, tcp, dns, tls", p.Kind)
}

func validateHostPort(field, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || !isPort(port) {
		return fmt.Errorf("%s: %q is not a host and a port such as shop.example:443", field, address)
	}
	return validateHost(field, host)
}

// validateHost takes names and addresses. Spellings such as 2130706433, 0177.0.0.1 and 0x7f.1, which
// some programs read as addresses, are none here.
func validateHost(field, host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return fmt.Errorf("%s: the address %s is of one machine's own network", field, host)
		}
		return nil
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%s: %q is neither a name nor an address such as 203.0.113.5", field, host)
	}
	if len(host) > 254 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\%?#@[]`, r) }) {
		return fmt.Errorf("%s: %q is not the name of a host", field, host)
	}
	return nil
}

func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 1 && n <= maxPort
}

// withPort adds a port to a host that has none.
func withPort(host, port string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(addr.String(), port)
	}
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(host, port)
}

func (p Probe) validateRequest() error {
	if len(p.Contains) > maxContains {
		return fmt.Errorf("contains: at most %d bytes", maxContains)
	}
	if p.Contains != "" && p.Kind != HTTP && p.Kind != DNS {
		return fmt.Errorf("contains: only an answer of http and of dns is read")
	}
	if p.Kind != DNS && (p.RecordType != "" || p.Resolver != "") {
		return fmt.Errorf("record_type, resolver: only for dns")
	}
	if p.Kind == DNS && p.RecordType != "" && !slices.Contains(recordTypes, p.RecordType) {
		return fmt.Errorf("record_type: %q is none of %s", p.RecordType, strings.Join(recordTypes, ", "))
	}
	if p.Kind != HTTP {
		if p.Method != "" || len(p.Headers) > 0 || p.Body != "" || p.ExpectStatus != "" || p.FollowRedirects {
			return fmt.Errorf("method, headers, body, expect_status, follow_redirects: only for http")
		}
		return nil
	}
	if p.Method != "" && !slices.Contains(methods, p.Method) {
		return fmt.Errorf("method: %q is none of %s", p.Method, strings.Join(methods, ", "))
	}
	if len(p.Body) > maxBody {
		return fmt.Errorf("body: at most %d bytes", maxBody)
	}
	if p.Body != "" && slices.Contains(methods[:3], p.method()) {
		return fmt.Errorf("body: %s has none", p.method())
	}
	if _, err := parseStatus(p.expectStatus()); err != nil {
		return fmt.Errorf("expect_status: %w", err)
	}
	return p.validateHeaders()
}

func (p Probe) validateHeaders() error {
	if len(p.Headers) > maxHeaders {
		return fmt.Errorf("headers: at most %d", maxHeaders)
	}
	for name, value := range p.Headers {
		switch {
		case len(name) > maxHeaderName || !headerName.MatchString(name):
			return fmt.Errorf("headers: %q is not the name of a header", name)
		case slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)):
			return fmt.Errorf("headers: %s cannot be set", name)
		case len(value) > maxHeader || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return fmt.Errorf("headers: the value of %s is not one line of at most %d bytes", name, maxHeader)
		}
	}
	return nil
}

func (p Probe) validateTimes() error {
	if p.TimeoutSeconds != 0 && (p.TimeoutSeconds < 1 || p.Timeout() > MaxTimeout) {
		return fmt.Errorf("timeout_seconds: %d is not from 1 to %d", p.TimeoutSeconds, int(MaxTimeout.Seconds()))
	}
	if p.IntervalSeconds < 0 || !slices.Contains(intervals, p.Interval()) {
		return fmt.Errorf("interval_seconds: %d is none of 30, 60, 300", p.IntervalSeconds)
	}
	return nil
}

// line checks a text of one line.
func line(field, text string, most int) error {
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("%s: only text of one line", field)
	case utf8.RuneCountInString(text) > most:
		return fmt.Errorf("%s: at most %d characters", field, most)
	}
	return nil
}

func (p Probe) method() string {
	if p.Method == "" {
		return http.MethodGet
	}
	return p.Method
}

func (p Probe) expectStatus() string {
	if p.ExpectStatus == "" {
		return DefaultStatus
	}
	return p.ExpectStatus
}

func (p Probe) recordType() string {
	if p.RecordType == "" {
		return "A"
	}
	return p.RecordType
}

// statusRange holds its ends.
type statusRange struct{ from, to int }

type statusSet []statusRange

// parseStatus reads "200-399", "204" and lists of them.
func parseStatus(text string) (statusSet, error) {
	if len(text) > maxStatus {
		return nil, fmt.Errorf("at most %d characters", maxStatus)
	}
	var set statusSet
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.Atoi(first)
		to, errTo := strconv.Atoi(last)
		if errFrom != nil || errTo != nil || from < 100 || to > 599 || from > to {
			return nil, fmt.Errorf("%q is not a status such as 204 or a range such as 200-399", part)
		}
		set = append(set, statusRange{from, to})
	}
	return set, nil
}

func (s statusSet) has(code int) bool {
	return slices.ContainsFunc(s, func(r statusRange) bool { return code >= r.from && code <= r.to })
}

// String is the set in words: "200 to 399 or 404".
func (s statusSet) String() string {
	words := make([]string, len(s))
	for i, r := range s {
		if words[i] = strconv.Itoa(r.from); r.to != r.from {
			words[i] += " to " + strconv.Itoa(r.to)
		}
	}
	return strings.Join(words, " or ")
}

// Decode reads the body of a document.
func Decode(body []byte) (Probe, error) {
	var p Probe
	if err := json.Unmarshal(body, &p); err != nil {
		return p, fmt.Errorf("decode a probe: %w", err)
	}
	return p, nil
}
