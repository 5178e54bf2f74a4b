package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// loopback lets the tests' own servers be asked.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func portOf(t *testing.T, url string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(url, "http://"), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestAnHTTPProbeSendsWhatItWasTold(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body [100]byte
		n, _ := r.Body.Read(body[:])
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.Host, r.Header.Get("X-Key"), r.Header.Get("User-Agent"), body[:n])
	})
	r := New(Config{Region: "eu", Allow: loopback}).Run(t.Context(), Probe{
		ID: "p1", Kind: HTTP, Target: url, Method: "POST", Body: "ping", Contains: "POST shop.test secret Midwatch-Probe/1 ping",
		Headers: map[string]string{"X-Key": "secret", "Host": "shop.test"},
	})
	if !r.OK || r.StatusCode != 200 || r.Probe != "p1" || r.Region != "eu" {
		t.Errorf("%+v", r)
	}
	if r.Timings.Total <= 0 || r.Timings.Total < r.Timings.FirstByte {
		t.Errorf("timings %+v", r.Timings)
	}
}

func TestAnHTTPProbeSaysWhyItFailed(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/503":
			w.WriteHeader(503)
		case "/302":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/ftp":
			w.Header().Set("Location", "ftp://shop.test/")
			w.WriteHeader(302)
		case "/octal":
			http.Redirect(w, r, "http://0177.0.0.1/", http.StatusFound)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("half"))
		case "/hang":
			<-r.Context().Done()
		default:
			_, _ = w.Write([]byte("welcome"))
		}
	})
	address := strings.TrimPrefix(url, "http://")
	prober := New(Config{Allow: loopback})
	for _, c := range []struct {
		path  string
		probe Probe
		want  string
	}{
		{"/503", Probe{}, "answered 503, expected 200 to 399"},
		{"/302", Probe{ExpectStatus: "200, 204"}, "answered 302, expected 200 or 204"},
		{"/loop", Probe{FollowRedirects: true}, "redirected more than 5 times"},
		{"/ftp", Probe{FollowRedirects: true}, "redirected to ftp:, which is neither http nor https"},
		{"/octal", Probe{FollowRedirects: true}, `redirected: "0177.0.0.1" is neither a name nor an address such as 203.0.113.5`},
		{"/", Probe{Contains: "checkout"}, `answered 200, but without the text "checkout"`},
		{"/cut", Probe{}, address + " ended the connection while reading the answer"},
		{"/hang", Probe{TimeoutSeconds: 1}, "timed out after 1 s while waiting for the answer's header"},
	} {
		c.probe.Kind, c.probe.Target = HTTP, url+c.path
		if r := prober.Run(t.Context(), c.probe); r.OK || r.Error != c.want {
			t.Errorf("%s: ok %v, error %q, want %q", c.path, r.OK, r.Error, c.want)
		}
	}
}

func TestARedirectIsFollowedOnlyWhereAsked(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "/new", http.StatusMovedPermanently)
		}
	})
	prober := New(Config{Allow: loopback})
	if r := prober.Run(t.Context(), Probe{Kind: HTTP, Target: url + "/old"}); !r.OK || r.StatusCode != 301 {
		t.Errorf("not followed: %+v", r)
	}
	if r := prober.Run(t.Context(), Probe{Kind: HTTP, Target: url + "/old", FollowRedirects: true}); !r.OK || r.StatusCode != 200 {
		t.Errorf("followed: %+v", r)
	}
}

func TestARedirectToAnotherHostTakesNoSecretsAlong(t *testing.T) {
	var other atomic.Pointer[http.Request]
	target := serve(t, func(_ http.ResponseWriter, r *http.Request) { other.Store(r) })
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target, http.StatusTemporaryRedirect)
	})
	prober := New(Config{Allow: loopback})
	probe := Probe{
		Kind: HTTP, Target: url + "/?token=secret", FollowRedirects: true,
		Headers: map[string]string{"X-Key": "secret", "Authorization": "Bearer secret", "Host": "secret.test"},
	}
	if r := prober.Run(t.Context(), probe); !r.OK {
		t.Fatal(r.Error)
	}
	if r := other.Load(); strings.Contains(fmt.Sprint(r.Header, r.Host), "secret") {
		t.Errorf("it got %v from %s", r.Header, r.Host)
	}
	probe.Method, probe.Body = "POST", "secret"
	want := "redirected to " + strings.TrimPrefix(target, "http://") + ", which is another host and does not get the body"
	if r := prober.Run(t.Context(), probe); r.Error != want {
		t.Errorf("with a body: %q", r.Error)
	}
}

func TestATCPProbeConnects(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	probe := Probe{Kind: TCP, Target: listener.Addr().String()}
	prober := New(Config{Allow: loopback})
	if r := prober.Run(t.Context(), probe); !r.OK {
		t.Error(r.Error)
	}
	listener.Close()
	if r := prober.Run(t.Context(), probe); r.OK || r.Error != "connection refused by "+probe.Target {
		t.Errorf("closed: ok %v, error %q", r.OK, r.Error)
	}
}

func TestANameThatIsNotThereIsNotFound(t *testing.T) {
	n := newNameserver(t, nil)
	prober := New(Config{Resolver: n.resolver()})
	for _, p := range []Probe{{Kind: TCP, Target: "gone.test:80"}, {Kind: HTTP, Target: "http://gone.test/"}, {Kind: TLS, Target: "gone.test:443"}} {
		if r := prober.Run(t.Context(), p); r.OK || r.Error != "name not found: gone.test" {
			t.Errorf("%s: ok %v, error %q", p.Kind, r.OK, r.Error)
		}
	}
}

func TestNothingOfTheOperatorsOwnNetworksIsAsked(t *testing.T) {
	var asked atomic.Bool
	url := serve(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	port := portOf(t, url)
	n := newNameserver(t, map[string][]record{
		"inner.test A":    {a("127.0.0.1")},
		"mapped.test A":   {a("127.0.0.1")},
		"six.test AAAA":   {a("::1")},
		"nat.test AAAA":   {a("64:ff9b::7f00:1")},
		"both.test A":     {a("127.0.0.1"), a("10.0.0.1")},
		"both.test AAAA":  {a("::1")},
		"2130706433 A":    {a("127.0.0.1")},
		"metadata.test A": {a("169.254.169.254")},
	})
	prober := New(Config{Resolver: n.resolver(), AllowedBy: "SETTING"})
	for _, host := range []string{
		"127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "0.0.0.0", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"10.0.0.1", "100.64.0.1", "169.254.169.254", "172.31.255.255", "192.168.1.1", "[fd00::1]", "[fe80::1]", "[ff02::1]", "224.0.0.1", "255.255.255.255",
		"inner.test", "mapped.test", "six.test", "nat.test", "both.test", "metadata.test", "2130706433", "0177.0.0.1", "0x7f000001", "0x7f.1", "127.1", "localhost",
	} {
		for _, p := range []Probe{
			{Kind: HTTP, Target: "http://" + host + ":" + port + "/"},
			{Kind: HTTP, Target: "https://" + host + ":" + port + "/"},
			{Kind: TCP, Target: host + ":" + port},
			{Kind: TLS, Target: host + ":" + port},
		} {
			p.Name, p.TimeoutSeconds = "x", 2
			r := prober.Run(t.Context(), p)
			if r.OK || !strings.HasPrefix(r.Error, "refused: ") && !strings.HasPrefix(r.Error, "name not found: ") {
				t.Errorf("%s %s: ok %v, error %q", p.Kind, p.Target, r.OK, r.Error)
			}
		}
	}
	if asked.Load() {
		t.Error("a server of this machine was asked")
	}
}

func TestSpellingsThatOnlySomeReadAsAddressesAreNotTargets(t *testing.T) {
	for _, host := range []string{"2130706433", "0177.0.0.1", "0x7f000001", "0x7f.1", "127.1", "1.2.3.4.5", "999999999999999999999999", "fe80::1%eth0"} {
		p := Probe{Name: "x", Kind: TCP, Target: net.JoinHostPort(host, "80")}
		if err := p.Validate(); err == nil || !strings.HasPrefix(err.Error(), "target: ") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestARedirectToAPrivateAddressIsNotFollowed(t *testing.T) {
	var asked atomic.Bool
	inner := serve(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	outer := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.2:"+portOf(t, inner), http.StatusFound)
	})
	// Only the first server's own address is allowed, as if it were public.
	prober := New(Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, AllowedBy: "SETTING"})
	r := prober.Run(t.Context(), Probe{Kind: HTTP, Target: outer, FollowRedirects: true})
	if r.OK || !strings.HasPrefix(r.Error, "refused: this leads to 127.0.0.0/8") || asked.Load() {
		t.Errorf("ok %v, error %q, asked %v", r.OK, r.Error, asked.Load())
	}
}

func TestANameThatChangesItsMindGainsNothing(t *testing.T) {
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	n := newNameserver(t, map[string][]record{"rebind.test A": {
		{data: a("127.0.0.1").data, turns: true}, {data: a("127.0.0.2").data, turns: true},
	}})
	prober := New(Config{Resolver: n.resolver(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, AllowedBy: "SETTING"})
	probe := Probe{Kind: HTTP, Target: "http://rebind.test:" + portOf(t, url)}
	if r := prober.Run(t.Context(), probe); !r.OK {
		t.Fatalf("first: %s", r.Error)
	}
	if r := prober.Run(t.Context(), probe); r.OK || !strings.HasPrefix(r.Error, "refused: ") {
		t.Errorf("then: ok %v, error %q", r.OK, r.Error)
	}
}

func TestEnvironmentProxiesAreNotUsed(t *testing.T) {
	var asked atomic.Bool
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("http_proxy", proxy)
	n := newNameserver(t, nil)
	r := New(Config{Resolver: n.resolver(), Allow: loopback}).Run(t.Context(), Probe{Kind: HTTP, Target: "http://gone.test/"})
	if r.OK || asked.Load() {
		t.Errorf("ok %v, asked %v", r.OK, asked.Load())
	}
}

// authority signs certificates for tests.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root", Organization: []string{"Tests"}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// serveTLS serves with a certificate for a name that began and ends so long from now.
func (a *authority) serveTLS(t *testing.T, name string, began, ends time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xbeef), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(began), NotAfter: time.Now().Add(ends), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("welcome")) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	return portOf(t, server.URL)
}

func TestACertificateIsJudged(t *testing.T) {
	const day = 24 * time.Hour
	root, self := newAuthority(t), &authority{}
	n := newNameserver(t, map[string][]record{"shop.test A": {a("127.0.0.1")}})
	prober := New(Config{Resolver: n.resolver(), Allow: loopback, Roots: root.pool()})
	for _, c := range []struct {
		what        string
		by          *authority
		name        string
		began, ends time.Duration
		verdict     CertificateVerdict
		failure     string // empty: it is fine
	}{
		{"fresh", root, "shop.test", -day, 89 * day, CertificateFine, ""},
		{"not renewed", root, "shop.test", -70 * day, 20*day + time.Hour, CertificateRenew, ""},
		{"a tenth left", root, "shop.test", -82 * day, 8 * day, CertificateSoon, ""},
		{"two days left", root, "shop.test", -5 * day, 2 * day, CertificateSoon, ""},
		{"an hour left", root, "shop.test", -90 * day, time.Hour, CertificateNow, ""},
		{"expired", root, "shop.test", -93 * day, -3 * day, CertificateExpired, "certificate expired 3 days ago"},
		{"early", root, "shop.test", 3*day + time.Hour, 90 * day, CertificateFine, "certificate is not valid for another 3 days"},
		{"another's", root, "other.test", -day, 89 * day, CertificateFine, "certificate is for other.test, not for shop.test"},
		{"self-signed", self, "shop.test", -day, 89 * day, CertificateFine, "certificate is self-signed"},
		{"unknown", newAuthority(t), "shop.test", -day, 89 * day, CertificateFine, "certificate is not signed by a trusted authority (Tests Test Root), or an intermediate certificate is missing"},
	} {
		port := c.by.serveTLS(t, c.name, c.began, c.ends)
		for _, p := range []Probe{{Kind: TLS, Target: "shop.test:" + port}, {Kind: HTTP, Target: "https://shop.test:" + port, Contains: "welcome"}} {
			r := prober.Run(t.Context(), p)
			if r.Error != c.failure || r.OK != (c.failure == "") {
				t.Errorf("%s, %s: ok %v, error %q", c.what, p.Kind, r.OK, r.Error)
			}
			if r.Certificate == nil || r.Certificate.Verdict != c.verdict || r.Certificate.Serial != "beef" {
				t.Errorf("%s, %s: certificate %+v", c.what, p.Kind, r.Certificate)
			}
		}
	}
}

func TestACertificateIsDescribed(t *testing.T) {
	root := newAuthority(t)
	n := newNameserver(t, map[string][]record{"shop.test A": {a("127.0.0.1")}})
	port := root.serveTLS(t, "shop.test", -70*24*time.Hour, 20*24*time.Hour+time.Minute)
	r := New(Config{Resolver: n.resolver(), Allow: loopback, Roots: root.pool()}).Run(t.Context(), Probe{Kind: TLS, Target: "shop.test:" + port})
	c := r.Certificate
	if c == nil || !c.ChainValid || !c.NameMatches || c.Issuer != "Tests Test Root" || strings.Join(c.Names, " ") != "shop.test" {
		t.Fatalf("%+v", c)
	}
	if c.Left < 0.22 || c.Left > 0.23 || c.Words != "20 days left, 22 % of its lifetime: what should have renewed it did not" {
		t.Errorf("left %v: %q", c.Left, c.Words)
	}
}

func TestAServerWithoutTLSIsNamed(t *testing.T) {
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	address := strings.TrimPrefix(url, "http://")
	r := New(Config{Allow: loopback}).Run(t.Context(), Probe{Kind: TLS, Target: address})
	if r.OK || r.Error != address+" does not answer with TLS" {
		t.Errorf("ok %v, error %q", r.OK, r.Error)
	}
}
