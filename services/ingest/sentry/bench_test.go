package sentry

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkEvent(b *testing.B) {
	n := NewNormaliser()
	// The worst: all texts seem to hold secrets of every kind.
	bad := strings.Repeat("token=a:b ?key=1&x=2 http://a Basic x eyJ 4111 1111 pass: ", 100)
	extra := make([]string, 160)
	for i := range extra {
		extra[i] = fmt.Sprintf(`"k%d":%q`, i, bad)
	}
	for name, raw := range map[string][]byte{
		"python": read(b, "python.json"), "browser": read(b, "browser.json"),
		"worst": []byte(`{"message":"m","extra":{` + strings.Join(extra, ",") + `}}`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.Event(raw, testMeta()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
