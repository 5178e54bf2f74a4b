package probe

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// nameserver is a DNS server of a few lines: it answers over UDP what its zone says.
type nameserver struct {
	conn net.PacketConn

	mu   sync.Mutex
	zone map[string][]record // by name without the last dot and type, "shop.test A"
	// asked counts the questions for each.
	asked map[string]int
}

// record is the data of a resource record in wire format. A zone gives the nth question its nth
// record alone where turns is set, and from then on the last.
type record struct {
	data  []byte
	turns bool
}

var typeNumbers = map[uint16]string{1: "A", 2: "NS", 5: "CNAME", 15: "MX", 16: "TXT", 28: "AAAA"}

func a(addr string) record { return record{data: netip.MustParseAddr(addr).AsSlice()} }

// name is a domain name in wire format.
func wireName(text string) []byte {
	var out []byte
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		out = append(append(out, byte(len(label))), label...)
	}
	return append(out, 0)
}

func newNameserver(t *testing.T, zone map[string][]record) *nameserver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameserver{conn: conn, zone: zone, asked: map[string]int{}}
	var serving sync.WaitGroup
	serving.Go(n.serve)
	t.Cleanup(func() { conn.Close(); serving.Wait() })
	return n
}

func (n *nameserver) address() string { return n.conn.LocalAddr().String() }

// resolver asks this server.
func (n *nameserver) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.address())
	}}
}

func (n *nameserver) serve() {
	buffer := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if answer := n.answer(buffer[:size]); answer != nil {
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

func (n *nameserver) answer(query []byte) []byte {
	const header = 12
	var labels []string
	at := header
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end > len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	if at+5 > len(query) {
		return nil
	}
	question := query[header : at+5]
	kind := binary.BigEndian.Uint16(query[at+1:])
	name := strings.ToLower(strings.Join(labels, "."))
	records, known := n.records(name, typeNumbers[kind])
	out := append([]byte{}, query[:2]...)
	code := byte(0x80)
	if !known {
		code |= 3 // no such name
	}
	out = append(out, 0x81, code, 0, 1, 0, byte(len(records)), 0, 0, 0, 0)
	out = append(out, question...)
	for _, r := range records {
		out = append(out, 0xc0, header) // the name of the question
		out = binary.BigEndian.AppendUint16(out, kind)
		out = append(out, 0, 1, 0, 0, 0, 0) // IN, kept for no time
		out = binary.BigEndian.AppendUint16(out, uint16(len(r.data)))
		out = append(out, r.data...)
	}
	return out
}

func (n *nameserver) records(name, kind string) (records []record, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := name + " " + kind
	turn := n.asked[key]
	n.asked[key]++
	records = n.zone[key]
	if len(records) > 0 && records[0].turns {
		records = records[min(turn, len(records)-1):][:1]
	}
	for of := range n.zone {
		known = known || strings.HasPrefix(of, name+" ")
	}
	return records, known
}

func TestADNSProbeReadsTheRecordsOfItsType(t *testing.T) {
	zone := map[string][]record{
		"shop.test A":   {a("192.88.98.7"), a("192.88.98.5")},
		"shop.test MX":  {{data: append([]byte{0, 10}, wireName("mail.shop.test")...)}},
		"shop.test TXT": {{data: append([]byte{5}, "hello"...)}},
		"shop.test NS":  {{data: wireName("ns1.shop.test")}},
		"v6.test AAAA":  {a("2606:4700::1")},
	}
	n := newNameserver(t, zone)
	prober := New(Config{Allow: loopback})
	for _, c := range []struct{ target, kind, want string }{
		{"shop.test", "", "192.88.98.5, 192.88.98.7"},
		{"shop.test.", "MX", "10 mail.shop.test."},
		{"shop.test", "TXT", "hello"},
		{"shop.test", "NS", "ns1.shop.test."},
		{"v6.test", "AAAA", "2606:4700::1"},
	} {
		r := prober.Run(t.Context(), Probe{Kind: DNS, Target: c.target, RecordType: c.kind, Resolver: n.address()})
		if got := strings.Join(r.Answers, ", "); !r.OK || got != c.want {
			t.Errorf("%s %s: answers %q, error %q", c.target, c.kind, got, r.Error)
		}
	}
}

func TestADNSProbeSaysWhatIsMissing(t *testing.T) {
	n := newNameserver(t, map[string][]record{"shop.test A": {a("192.88.98.5")}, "inner.test A": {a("10.1.2.3")}})
	prober := New(Config{Allow: loopback, AllowedBy: "SETTING"})
	for _, c := range []struct {
		probe Probe
		want  string
	}{
		{Probe{Target: "gone.test"}, "gone.test has no A record"},
		{Probe{Target: "shop.test", RecordType: "AAAA"}, "shop.test has no AAAA record"},
		{Probe{Target: "shop.test", Contains: "192.88.98.6"}, `answered 192.88.98.5, without "192.88.98.6"`},
		{Probe{Target: "inner.test", Contains: "192.88.98.6"}, `answered an address that is not public, without "192.88.98.6"`},
	} {
		c.probe.Kind, c.probe.Resolver = DNS, n.address()
		if r := prober.Run(t.Context(), c.probe); r.OK || r.Error != c.want {
			t.Errorf("%s: ok %v, error %q, want %q", c.probe.Target, r.OK, r.Error, c.want)
		}
	}
}

func TestAResolverInAPrivateNetworkIsNotAsked(t *testing.T) {
	n := newNameserver(t, map[string][]record{"shop.test A": {a("192.88.98.5")}})
	r := New(Config{AllowedBy: "SETTING"}).Run(t.Context(), Probe{Kind: DNS, Target: "shop.test", Resolver: n.address()})
	if want := "refused: this leads to 127.0.0.0/8 (this machine); where that is wanted, the operator allows it by SETTING"; r.OK || r.Error != want {
		t.Errorf("ok %v, error %q", r.OK, r.Error)
	}
	if len(n.asked) > 0 {
		t.Errorf("it was asked %v", n.asked)
	}
}
