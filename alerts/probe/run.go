package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxRedirects     = 5
	maxAnswerBytes   = 1 << 20
	maxAnswerHeaders = 64 << 10
	userAgent        = "Midwatch-Probe/1"
)

// Config says from where probes are run, and where they may go.
type Config struct {
	// Region is the name of the place, as in Probe.Regions.
	Region string
	// Allow are networks that are not public and may be asked all the same; AllowedBy is the setting
	// that holds them, as an operator is told it.
	Allow     []netip.Prefix
	AllowedBy string
	// Resolver looks names up; nil is the machine's own.
	Resolver *net.Resolver
	// Roots are the authorities that vouch for certificates; nil is the machine's own.
	Roots *x509.CertPool
}

// Prober carries out probes. It is safe for concurrent use and keeps nothing.
type Prober struct {
	cfg   Config
	guard guard
}

// New returns a prober.
func New(cfg Config) *Prober {
	return &Prober{cfg: cfg, guard: guard{cfg.Allow, cfg.AllowedBy}}
}

// Region is where this prober is.
func (p *Prober) Region() string { return p.cfg.Region }

// Run carries out one probe, which has to be valid, within its timeout.
func (p *Prober) Run(ctx context.Context, what Probe) Result {
	ctx, cancel := context.WithTimeout(ctx, what.Timeout())
	defer cancel()
	r := &run{prober: p, probe: what, result: Result{Probe: what.ID, Region: p.cfg.Region, At: time.Now()}}
	err := r.do(httptrace.WithClientTrace(ctx, r.trace()))
	result, at := r.end()
	result.OK = err == nil
	if err != nil {
		result.Error = explain(err, at, what.Timeout())
	}
	return result
}

// phase is what a run is doing.
type phase int

const (
	looking phase = iota
	connecting
	shaking
	asking
	waiting
	reading
)

// progress is how far a run came, for words about its end.
type progress struct {
	phase   phase
	name    string // that is being looked up
	address string // that was connected to last
}

func (p progress) doing() string {
	switch p.phase {
	case looking:
		return "looking up the name " + p.name
	case connecting:
		return "connecting to " + p.address
	case shaking:
		return "agreeing on TLS with " + p.address
	case asking:
		return "sending the request"
	case waiting:
		return "waiting for the answer's header"
	default:
		return "reading the answer"
	}
}

// run is one run of a probe. Dials that were given up may still report, so that what they write to
// is locked.
type run struct {
	prober *Prober
	probe  Probe

	mu      sync.Mutex
	at      progress
	since   time.Time // the phase
	result  Result
	refused error // of a dial for a lookup, which Go's resolver turns into text
}

// enter notes that a phase begins.
func (r *run) enter(p phase, name, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at.phase, r.since = p, time.Now()
	if name != "" {
		r.at.name = name
	}
	if address != "" {
		r.at.address = address
	}
}

// leave notes in to how long the phase took.
func (r *run) leave(to func(*Timings) *float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to(&r.result.Timings) = millis(time.Since(r.since))
}

func (r *run) end() (Result, progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Timings.Total = millis(time.Since(r.result.At))
	return r.result, r.at
}

func (r *run) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart: func(i httptrace.DNSStartInfo) { r.enter(looking, i.Host, "") },
		DNSDone: func(httptrace.DNSDoneInfo) {
			r.leave(func(t *Timings) *float64 { return &t.DNS })
		},
		ConnectStart: func(_, address string) { r.enter(connecting, "", address) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				r.leave(func(t *Timings) *float64 { return &t.Connect })
			}
		},
		GotConn:      func(httptrace.GotConnInfo) { r.enter(asking, "", "") },
		WroteRequest: func(httptrace.WroteRequestInfo) { r.enter(waiting, "", "") },
		GotFirstResponseByte: func() {
			r.leave(func(t *Timings) *float64 { return &t.FirstByte })
		},
	}
}

func (r *run) do(ctx context.Context) error {
	switch r.probe.Kind {
	case HTTP:
		return r.http(ctx)
	case TCP:
		conn, err := r.dial(ctx, "tcp", r.probe.Target)
		if err != nil {
			return err
		}
		return conn.Close()
	case TLS:
		conn, err := r.dialTLS(ctx, "tcp", r.probe.Target, nil)
		if err != nil {
			return err
		}
		conn.Close() // its goodbye may not arrive: the handshake has told everything
		return nil
	case DNS:
		return r.dns(ctx)
	}
	return words("there is no kind of probe %q", r.probe.Kind)
}

// dial connects to a public address.
func (r *run) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return r.prober.guard.dialer(r.prober.cfg.Resolver).DialContext(ctx, network, address)
}

// dialTLS connects, shakes hands and keeps the certificate. A certificate that may not be trusted is
// an error before anything is sent.
func (r *run) dialTLS(ctx context.Context, network, address string, protocols []string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("split %q: %w", address, err)
	}
	host = strings.TrimSuffix(host, ".")
	raw, err := r.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	r.enter(shaking, "", raw.RemoteAddr().String())
	conn := tls.Client(raw, &tls.Config{
		ServerName: host,
		NextProtos: protocols,
		// VerifyConnection verifies, and keeps what a client that verifies by itself would not show.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			certificate, err := certificateOf(state.PeerCertificates, host, r.prober.cfg.Roots, time.Now())
			r.mu.Lock()
			defer r.mu.Unlock()
			r.result.Certificate = certificate
			return err
		},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	r.leave(func(t *Timings) *float64 { return &t.TLS })
	return conn, nil
}

func (r *run) http(ctx context.Context) error {
	expected, err := parseStatus(r.probe.expectStatus())
	if err != nil {
		return words("expect_status: %s", err)
	}
	req, err := r.request(ctx)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		// No proxy: what the environment names is for this process, and past the guard.
		Proxy:       nil,
		DialContext: r.dial,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return r.dialTLS(ctx, network, address, []string{"h2", "http/1.1"})
		},
		ForceAttemptHTTP2: true, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswerHeaders,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: r.redirect}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r.mu.Lock()
	r.result.StatusCode = resp.StatusCode
	r.mu.Unlock()
	if !expected.has(resp.StatusCode) {
		return words("answered %d, expected %s", resp.StatusCode, expected)
	}
	r.enter(reading, "", "")
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte(r.probe.Contains)) {
		return words("answered %d, but without the text %q", resp.StatusCode, clip(r.probe.Contains, 100))
	}
	return nil
}

func (r *run) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.probe.method(), r.probe.Target, strings.NewReader(r.probe.Body))
	if err != nil {
		return nil, words("target: %q is not an address", r.probe.Target)
	}
	if r.probe.Body == "" {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	req.Header.Set("User-Agent", userAgent)
	for name, value := range r.probe.Headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	return req, nil
}

// redirect decides whether to go where an answer points. The headers of the probe may hold secrets
// and go to its own host only, in its own scheme.
func (r *run) redirect(next *http.Request, before []*http.Request) error {
	switch {
	case !r.probe.FollowRedirects:
		return http.ErrUseLastResponse
	case len(before) > maxRedirects:
		return words("redirected more than %d times", maxRedirects)
	case next.URL.Scheme != "http" && next.URL.Scheme != "https":
		return words("redirected to %s:, which is neither http nor https", clip(next.URL.Scheme, 20))
	}
	if err := validateHost("redirected", next.URL.Hostname()); err != nil {
		return words("%s", err)
	}
	if first := before[0].URL; next.URL.Host != first.Host || next.URL.Scheme != first.Scheme {
		if next.ContentLength != 0 {
			return words("redirected to %s, which is another host and does not get the body", clip(next.URL.Host, 100))
		}
		for name := range r.probe.Headers {
			next.Header.Del(name)
		}
		next.Header.Del("Referer")
		next.Header.Set("User-Agent", userAgent)
		next.Host = ""
	}
	return nil
}

func (r *run) dns(ctx context.Context) error {
	resolver := r.prober.cfg.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if r.probe.Resolver != "" {
		server := withPort(r.probe.Resolver, "53")
		resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := r.dial(ctx, network, server)
			if refused, ok := errors.AsType[*refusedError](err); ok {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.refused = refused
			}
			return conn, err
		}}
	}
	name := strings.TrimSuffix(r.probe.Target, ".") + "." // the search list of this machine is not meant
	r.enter(looking, strings.TrimSuffix(name, "."), "")
	answers, err := r.lookup(ctx, resolver, name)
	r.mu.Lock()
	r.result.Answers = answers[:min(len(answers), maxAnswers)]
	refused := r.refused
	r.mu.Unlock()
	if refused != nil {
		return refused
	}
	if err != nil {
		return err
	}
	r.leave(func(t *Timings) *float64 { return &t.DNS })
	if len(answers) == 0 {
		return words("%s has no %s record", r.probe.Target, r.probe.recordType())
	}
	if !slices.ContainsFunc(answers, func(a string) bool { return strings.Contains(a, r.probe.Contains) }) {
		return words("answered %s, without %q", clip(strings.Join(answers, ", "), 200), clip(r.probe.Contains, 100))
	}
	return nil
}

// lookup returns the records of the probe's type, sorted, each as a line.
func (r *run) lookup(ctx context.Context, resolver *net.Resolver, name string) (answers []string, err error) {
	switch kind := r.probe.recordType(); kind {
	case "A", "AAAA":
		network := map[string]string{"A": "ip4", "AAAA": "ip6"}[kind]
		addrs, lookupErr := resolver.LookupNetIP(ctx, network, name)
		for _, addr := range addrs {
			answers = append(answers, r.prober.guard.mask(addr))
		}
		err = lookupErr
	case "CNAME":
		target, lookupErr := resolver.LookupCNAME(ctx, name)
		if lookupErr == nil && !strings.EqualFold(target, name) {
			answers = append(answers, target)
		}
		err = lookupErr
	case "MX":
		records, lookupErr := resolver.LookupMX(ctx, name)
		for _, one := range records {
			answers = append(answers, fmt.Sprintf("%d %s", one.Pref, one.Host))
		}
		err = lookupErr
	case "TXT":
		answers, err = resolver.LookupTXT(ctx, name)
	case "NS":
		records, lookupErr := resolver.LookupNS(ctx, name)
		for _, one := range records {
			answers = append(answers, one.Host)
		}
		err = lookupErr
	}
	for i := range answers {
		answers[i] = clip(answers[i], maxContains)
	}
	slices.Sort(answers)
	// A name without records of the type is as good as not found to Go's resolver.
	if missing, ok := errors.AsType[*net.DNSError](err); ok && missing.IsNotFound {
		return nil, words("%s has no %s record", r.probe.Target, r.probe.recordType())
	}
	return answers, err
}
