package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// special is a range of addresses that is not the public Internet (IANA's registries of special-purpose addresses).
type special struct {
	netip.Prefix
	name string
}

func ranges(name string, prefixes ...string) []special {
	out := make([]special, len(prefixes))
	for i, p := range prefixes {
		out[i] = special{netip.MustParsePrefix(p), name}
	}
	return out
}

// specials are looked through from the first to the last.
var specials = slices.Concat(
	ranges("the address of cloud metadata", "169.254.169.254/32", "168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::/32"),
	ranges("this machine", "127.0.0.0/8", "::1/128", "0.0.0.0/8", "::/128"),
	ranges("a private network", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
	ranges("a provider's own network", "100.64.0.0/10"),
	ranges("a link's own network", "169.254.0.0/16", "fe80::/10"),
	ranges("a range for documentation", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
	ranges("a range for benchmarks", "198.18.0.0/15"),
	ranges("a reserved range", "192.0.0.0/24", "240.0.0.0/4", "2001::/23", "100::/64", "5f00::/16"),
	ranges("a range for many receivers", "224.0.0.0/4", "ff00::/8"),
	ranges("a range that leads to IPv4", "192.88.99.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "::/96"),
	ranges("not a public address", "::/3", "4000::/2", "8000::/1"),
)

// refusedError says that an address may not be asked. It names the range and not the address: who
// makes probes need not learn how names of the operator's network resolve.
type refusedError struct {
	special
	setting string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("refused: this leads to %s (%s); where that is wanted, the operator allows it by %s", e.Prefix, e.name, e.setting)
}

// Permanent says that another attempt is refused as well.
func (e *refusedError) Permanent() bool { return true }

// NewClient returns a client for addresses that tenants chose: it connects to public ones and those
// that are allowed, and follows no redirect. setting names what allows them, as an operator is told it.
func NewClient(allow []netip.Prefix, setting string) *http.Client {
	dialer := guard{allow, setting}.dialer(nil)
	dialer.Timeout = 10 * time.Second
	return &http.Client{
		Transport: &http.Transport{
			Proxy: nil, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 4, MaxIdleConns: 100, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxAnswerHeaders,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// guard decides which addresses may be asked.
type guard struct {
	allow   []netip.Prefix
	setting string
}

// check takes an address as it is about to be connected to.
func (g guard) check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	if slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	for _, s := range specials {
		if s.Contains(addr) {
			return &refusedError{s, g.setting}
		}
	}
	return nil
}

// control is called by a dialer with the address that it is about to connect to, after every lookup:
// so neither a redirect nor a name that changes its mind gets past it.
func (g guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") && !strings.HasPrefix(network, "udp") {
		return fmt.Errorf("nothing is asked by %s", network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("it cannot be told where %q leads: %w", address, err)
	}
	return g.check(to.Addr())
}

// dialer connects to what the guard lets through.
func (g guard) dialer(resolver *net.Resolver) *net.Dialer {
	return &net.Dialer{Resolver: resolver, ControlContext: g.control, KeepAliveConfig: net.KeepAliveConfig{Enable: false}}
}

// mask keeps what a lookup found in the operator's own networks from who made the probe.
func (g guard) mask(addr netip.Addr) string {
	if g.check(addr) != nil {
		return "an address that is not public"
	}
	return addr.Unmap().String()
}
