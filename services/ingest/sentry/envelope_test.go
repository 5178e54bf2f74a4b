package sentry

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseEnvelope(t *testing.T) {
	t.Parallel()
	items := func(pairs ...string) []Item {
		var out []Item
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, Item{Type: pairs[i], Payload: []byte(pairs[i+1])})
		}
		return out
	}
	for name, c := range map[string]struct {
		in   string
		want []Item
	}{
		"header only":             {"{}", nil},
		"header and line end":     {"{}\n", nil},
		"no length":               {"{}\n{\"type\":\"event\"}\n{\"a\":1}", items("event", `{"a":1}`)},
		"no length, line ends":    {"{}\n{\"type\":\"a\"}\n1\n{\"type\":\"b\"}\n2\n", items("a", "1", "b", "2")},
		"length":                  {"{}\n{\"type\":\"a\",\"length\":3}\n1\n2\n{\"type\":\"b\",\"length\":1}\n3", items("a", "1\n2", "b", "3")},
		"length as text":          {"{}\n{\"type\":\"a\",\"length\":\"1\"}\n1", items("a", "1")},
		"null length":             {"{}\n{\"type\":\"a\",\"length\":null}\n1\n", items("a", "1")},
		"length 0":                {"{}\n{\"type\":\"a\",\"length\":0}\n\n{\"type\":\"b\",\"length\":0}", items("a", "", "b", "")},
		"carriage return":         {"{}\r\n{\"type\":\"a\"}\r\n1\r\n", items("a", "1\r")},
		"blank lines between":     {"{}\n\n{\"type\":\"a\"}\n1\n\n\n{\"type\":\"b\"}\n2\n\n", items("a", "1", "b", "2")},
		"no payload":              {"{}\n{\"type\":\"a\"}", items("a", "")},
		"unknown type":            {"{}\n{\"type\":\"from_the_future\",\"x\":[1]}\n\x00\xff\n", items("from_the_future", "\x00\xff")},
		"type is missing or odd":  {"{}\n{}\n1\n{\"type\":{}}\n2", items("", "1", "", "2")},
		"byte order mark":         {"\xef\xbb\xbf{}\n{\"type\":\"a\"}\n1", items("a", "1")},
		"header with NaN is fine": {"{\"x\":NaN}\n{\"type\":\"a\"}\n1", items("a", "1")},
	} {
		got, err := ParseEnvelope([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i := range got.Items {
			got.Items[i].Payload = append([]byte{}, got.Items[i].Payload...)
		}
		for i := range c.want {
			c.want[i].Payload = append([]byte{}, c.want[i].Payload...)
		}
		if diff := cmp.Diff(c.want, got.Items); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseEnvelopeHeader(t *testing.T) {
	t.Parallel()
	got, err := ParseEnvelope([]byte(`{"event_id":"6c1f0e7a-2f3b-4c5d-8e9f-a0b1c2d3e4f5","dsn":"http://k@h/1","sent_at":"2026-11-03T10:11:12.5Z","sdk":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Envelope{
		EventID: [16]byte{0x6c, 0x1f, 0x0e, 0x7a, 0x2f, 0x3b, 0x4c, 0x5d, 0x8e, 0x9f, 0xa0, 0xb1, 0xc2, 0xd3, 0xe4, 0xf5},
		DSN:     "http://k@h/1", SentAt: time.Date(2026, 11, 3, 10, 11, 12, 500_000_000, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]error{
		"":                                      ErrMalformed,
		"\n":                                    ErrMalformed,
		"[]\n":                                  ErrMalformed,
		"{broken":                               ErrMalformed,
		"{}\n{x}\n":                             ErrMalformed,
		"{}\n{\"type\":\"a\",\"length\":9}\n1":  ErrMalformed,
		"{}\n{\"type\":\"a\",\"length\":-1}\n1": ErrMalformed,
		"{}\n{\"type\":\"a\",\"length\":1e300}\n1":     ErrMalformed,
		"{}\n{\"type\":\"a\",\"length\":[]}\n1":        ErrMalformed,
		"{}\n{\"type\":\"a\",\"length\":1}\n12\n":      ErrMalformed,
		"{}\n" + strings.Repeat("{}\n1\n", MaxItems+1): ErrTooLarge,
	} {
		if _, err := ParseEnvelope([]byte(in)); !errors.Is(err, want) {
			t.Errorf("ParseEnvelope(%.40q): %v, want %v", in, err, want)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{"{}", "{}\n{\"type\":\"event\"}\n{}", "{}\n{\"type\":\"a\",\"length\":3}\n1\n2\n{\"type\":\"log\"}\n{}", "{\"dsn\":1,\"sent_at\":17}\n\n{\"length\":0}\n"} {
		f.Add([]byte(s))
	}
	n := NewNormaliser()
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := ParseEnvelope(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		total := 0
		for _, item := range env.Items {
			total += len(item.Payload)
			if len(item.Payload) > 0 && !bytes.Contains(b, item.Payload) {
				t.Fatal("a payload that was not sent")
			}
			if c, err := Checkin(item.Payload, testMeta()); err == nil {
				checkUTF8(t, c)
				if len(c.Slug) > MaxSlug || c.Slug == "" || len(c.CheckinId) != 16 {
					t.Fatalf("check-in %v", c)
				}
			}
			if groups, _, err := Logs(item.Payload, testMeta()); err == nil {
				for _, g := range groups {
					checkUTF8(t, g)
				}
			}
			if events, err := n.Security(item.Payload, Source{}, testMeta()); err == nil {
				for _, e := range events {
					checkUTF8(t, e)
				}
			}
		}
		if total > len(b) {
			t.Fatal("payloads overlap")
		}
	})
}
