package sentry

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParameterise(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                                        "",
		"no such file":                                            "no such file",
		"user 17 not found":                                       "user <int> not found",
		"user -17 not found":                                      "user <int> not found",
		"mail to ann.o+x@example.co.uk lost":                      "mail to <email> lost",
		"GET https://example.com/a?b=1: boom":                     "GET <url>: boom",
		"see https://example.com/a.":                              "see <url>.",
		"dial tcp 10.0.3.4:5432: refused":                         "dial tcp <ip>: refused",
		"dial tcp [fe80::1%eth0]:5432: refused":                   "dial tcp <ip>: refused",
		"from 2001:db8::8a2e:370:7334 again":                      "from <ip> again",
		"call ab::cd failed":                                      "call ab::cd failed",
		"device 00:1B:44:11:3A:B7 gone":                           "device <mac> gone",
		"order 123e4567-e89b-12d3-a456-426614174000 is gone":      "order <uuid> is gone",
		"order 01HV6Q2Z5G7W8X9Y0ABCDEFGHJ is gone":                "order <uuid> is gone",
		"commit da39a3ee5e6b4b0d3255bfef95601890afd80709 missing": "commit <sha> missing",
		"etag d41d8cd98f00b204e9800998ecf8427e":                   "etag <sha>",
		"commit da39a3e missing":                                  "commit <hex> missing",
		"the facade defaced":                                      "the facade defaced",
		"at 2026-11-03T10:11:12.123Z":                             "at <date>",
		"at 2026-11-03 10:11:12 +0000 UTC ok":                     "at <date> ok",
		"on 2026-11-03 only":                                      "on <date> only",
		"at Tue, 03 Nov 2026 10:11:12 GMT":                        "at <date>",
		"at Tue Nov 3 10:11:12 2026":                              "at <date>",
		"at 10:11:12 sharp":                                       "at <date> sharp",
		"took 1.5s":                                               "took <duration>",
		"took 1m30.25s":                                           "took <duration>",
		"after 30 seconds":                                        "after <duration>",
		"at 0xdeadBEEF":                                           "at <hex>",
		"value 3.14 low":                                          "value <float> low",
		"value 1e-9 low":                                          "value <float> low",
		"value 12345678901234567890 high":                         "value <int> high",
		`level="debug" retry=true n=3`:                            "level=<str> retry=<bool> n=<int>",
		"retry= False, cached=false":                              "retry=<bool>, cached=<bool>",
		"KeyError: 'name'":                                        "KeyError: 'name'",
		"Request failed with status code 404":                     "Request failed with status code 404",
		"exit status 137":                                         "exit status 137",
		"error 1062 (23000): Duplicate entry '17' for key":        "error 1062 (<int>): Duplicate entry '<int>' for key",
		"404 Client Error: Not Found for url: http://x/1":         "404 Client Error: Not Found for url: <url>",
		"no pod web-7d4f9c6b8-x2k9z":                              "no pod web-<pod>",
		"no customer 8fj3kd93ls02":                                "no customer <id>",
		"relation orders_of_20260102 does not exist":              "relation orders_of_<int> does not exist",
		"utf8ToBase64String is not a function":                    "utf8ToBase64String is not a function",
		"getUserByIdV2 failed":                                    "getUserByIdV2 failed",
		"much   white\n\tspace 1":                                 "much white space <int>",
		"traceparent 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 again": "traceparent <traceparent> again",
	} {
		if got := parameterise(in); got != want {
			t.Errorf("parameterise(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParameterise(f *testing.F) {
	for _, s := range []string{"user 17 at 2026-11-03T10:11:12Z", "a@b.c http://x [::1]:80 ab::", "status code 404", "=\"\" ='' \xff\x00", "µs 5µs", strings.Repeat("1:", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := parameterise(s)
		if len(got) > 8*parameterised {
			t.Fatalf("%d bytes of %d", len(got), len(s))
		}
		if !utf8.ValidString(got) {
			t.Fatalf("parameterise(%q) = %q is not UTF-8", s, got)
		}
		if parameterise(s) != got {
			t.Fatal("not the same twice")
		}
	})
}

func BenchmarkParameterise(b *testing.B) {
	s := strings.Repeat("dial tcp 10.0.3.4:5432: order 123e4567-e89b-12d3-a456-426614174000 of ann@example.com took 1.5s; ", 5)
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		parameterise(s)
	}
}
