package probe

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Result is what came of one run of a probe.
type Result struct {
	Probe  string    `json:"probe"`
	Region string    `json:"region"`
	At     time.Time `json:"at"` // when it began
	OK     bool      `json:"ok"`
	// Error is why it failed, in a person's words; empty when OK.
	Error      string  `json:"error,omitempty"`
	Timings    Timings `json:"timings"`
	StatusCode int     `json:"status_code,omitempty"` // of http
	// Answers are the records that dns found, at most maxAnswers.
	Answers []string `json:"answers,omitempty"`
	// Certificate is that of the last TLS handshake, also where it is the reason for the failure.
	Certificate *Certificate `json:"certificate,omitempty"`
}

// Timings are milliseconds. Of redirects the last request counts, but for Total, which is everything.
type Timings struct {
	DNS       float64 `json:"dns_ms"`
	Connect   float64 `json:"connect_ms"`
	TLS       float64 `json:"tls_ms"`
	FirstByte float64 `json:"first_byte_ms"` // from the request's end to the answer's first byte
	Total     float64 `json:"total_ms"`
}

// millis keeps tenths.
func millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(100*time.Microsecond)) / 10
}

// Certificate is the one that a server showed for itself.
type Certificate struct {
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Issuer      string    `json:"issuer"`
	Names       []string  `json:"names"` // at most maxNames
	Serial      string    `json:"serial"`
	ChainValid  bool      `json:"chain_valid"`  // an authority that this machine trusts vouches for it, and it is in time
	NameMatches bool      `json:"name_matches"` // it is for the name that was asked for
	// Left is the share of its lifetime that was left, 0 to 1.
	Left float64 `json:"left"`
	// Verdict and Words say what Left means; see Certificate.Due.
	Verdict CertificateVerdict `json:"verdict"`
	Words   string             `json:"words"`
}

// CertificateVerdict is how soon somebody has to look at a certificate.
type CertificateVerdict string

// The verdicts. Lifetimes shrink, so that a certificate is judged by the share of it that is left:
// what renews by itself does so with a third left.
const (
	CertificateFine    CertificateVerdict = "fine"
	CertificateRenew   CertificateVerdict = "renew"   // at most a quarter is left: its renewal is broken
	CertificateSoon    CertificateVerdict = "soon"    // at most a tenth, or 48 h, are left
	CertificateNow     CertificateVerdict = "now"     // at most 24 h are left
	CertificateExpired CertificateVerdict = "expired" // nothing is left
)

const (
	renewShare = 0.25
	soonShare  = 0.1
	soonLeft   = 48 * time.Hour
	nowLeft    = 24 * time.Hour

	maxAnswers    = 50
	maxNames      = 20
	maxNameBytes  = 253
	maxErrorBytes = 500
)

// JudgeCertificate says how soon somebody has to look at a certificate of which remaining of lifetime
// is left. It is what an alert asks with the two metrics.
func JudgeCertificate(remaining, lifetime time.Duration) CertificateVerdict {
	share := 0.0
	if lifetime > 0 {
		share = float64(remaining) / float64(lifetime)
	}
	switch {
	case remaining <= 0:
		return CertificateExpired
	case remaining <= nowLeft:
		return CertificateNow
	case share <= soonShare || remaining <= soonLeft:
		return CertificateSoon
	case share <= renewShare:
		return CertificateRenew
	}
	return CertificateFine
}

// judged fills in what depends on the time.
func (c Certificate) judged(now time.Time) Certificate {
	remaining, lifetime := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
	if lifetime > 0 {
		c.Left = min(1, max(0, float64(remaining)/float64(lifetime)))
	}
	c.Verdict = JudgeCertificate(remaining, lifetime)
	left := fmt.Sprintf("%s left, %.0f %% of its lifetime", span(remaining), c.Left*100)
	switch c.Verdict {
	case CertificateExpired:
		c.Words = "expired " + span(-remaining) + " ago"
	case CertificateFine:
		c.Words = left
	case CertificateRenew:
		c.Words = left + ": what should have renewed it did not"
	default:
		c.Words = left + ": renew it now"
	}
	return c
}

// span is a duration in one unit, rounded down: "3 days", "1 hour".
func span(d time.Duration) string {
	unit, name := time.Minute, "minute"
	switch {
	case d >= 48*time.Hour:
		unit, name = 24*time.Hour, "day"
	case d >= time.Hour:
		unit, name = time.Hour, "hour"
	}
	n := int64(d / unit)
	if n != 1 {
		name += "s"
	}
	return fmt.Sprintf("%d %s", n, name)
}

// certificateOf describes what a server showed for host. The error is why it may not be trusted, in
// words; the certificate is there either way.
func certificateOf(chain []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) (*Certificate, error) {
	leaf := chain[0]
	c := Certificate{
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Issuer: issuerOf(leaf), Serial: leaf.SerialNumber.Text(16),
		Names: namesOf(leaf), NameMatches: leaf.VerifyHostname(host) == nil,
	}.judged(now)
	intermediates := x509.NewCertPool()
	for _, one := range chain[1:] {
		intermediates.AddCert(one)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	c.ChainValid = err == nil
	switch {
	case now.After(leaf.NotAfter):
		return &c, words("certificate %s", c.Words)
	case now.Before(leaf.NotBefore):
		return &c, words("certificate is not valid for another %s", span(leaf.NotBefore.Sub(now)))
	case !c.NameMatches:
		return &c, words("certificate is for %s, not for %s", strings.Join(c.Names, ", "), host)
	case err == nil:
		return &c, nil
	}
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case ok && selfSigned(leaf):
		return &c, words("certificate is self-signed")
	case ok:
		return &c, words("certificate is not signed by a trusted authority (%s), or an intermediate certificate is missing", c.Issuer)
	}
	return &c, words("certificate is not valid: %s", strings.TrimPrefix(err.Error(), "x509: "))
}

func selfSigned(leaf *x509.Certificate) bool {
	return leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil
}

func issuerOf(leaf *x509.Certificate) string {
	parts := append(leaf.Issuer.Organization, leaf.Issuer.CommonName)
	return clip(strings.Trim(strings.Join(parts, " "), " "), maxNameBytes)
}

// namesOf are the names that a certificate is for; the subject's only where there is nothing else to show.
func namesOf(leaf *x509.Certificate) []string {
	names := make([]string, 0, min(maxNames, len(leaf.DNSNames)+len(leaf.IPAddresses)))
	add := func(name string) {
		if len(names) < maxNames {
			names = append(names, clip(name, maxNameBytes))
		}
	}
	for _, name := range leaf.DNSNames {
		add(name)
	}
	for _, ip := range leaf.IPAddresses {
		add(ip.String())
	}
	if len(names) == 0 {
		add(leaf.Subject.CommonName)
	}
	return names
}
