package jsonlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/services/ingest/jsonscan"
	"github.com/midwatch/midwatch/services/ingest/record"
)

var seeds = []string{
	corpusLine,
	`[{"a":1},{"b":[1,2,{"c":null}]},"x",1.5e-3,true]`,
	"{\"a\":\"\\ud83d\\ude00\\ud83d\\u0000\"}\n{\"b\":\"\xff\xc3\"}",
	`{"log":"{\"level\":30,\"msg\":\"x\"}\n","time":"2026-11-21T10:00:00Z"}`,
	"{\n \"a\": {\"b\": {}},\n \"c\": oops\n}\n{\"d\":1}",
	`{"timestamp":{"seconds":1795255200,"nanos":5},"trace_id":"1-5759e988-bd862e3fe1be46a994272793"}`,
	`{"a":1}{"a":2},{"a":3} [4,[5],null`,
	strings.Repeat("[", 40) + strings.Repeat("{\"a\":", 40),
	`{"":{"":""},"a.b":1,"a":{"b":2}}`,
}

// FuzzLines: no text makes the decoder panic, say something that does not add up, or give strings
// that are not UTF-8 or over their bounds.
func FuzzLines(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := decode(text)
		n := 0
		for _, g := range r.Groups {
			if !utf8.ValidString(g.Service) {
				t.Errorf("service %q is not UTF-8", g.Service)
			}
			for _, l := range g.Records {
				n++
				if l.Time == 0 || !utf8.ValidString(l.Body) || len(l.Body) > record.MaxBodyBytes || l.Severity > 24 {
					t.Errorf("record %v", l)
				}
				if len(l.Attributes) > record.MaxAttributes+1 {
					t.Errorf("%d attributes", len(l.Attributes))
				}
				seen := map[string]bool{}
				for _, kv := range l.Attributes {
					if !utf8.ValidString(kv.Key) || !utf8.ValidString(kv.Value) || len(kv.Key) > record.MaxKeyBytes || len(kv.Value) > record.MaxValueBytes {
						t.Errorf("attribute %q=%q", kv.Key, kv.Value)
					}
					if seen[kv.Key] {
						t.Errorf("attribute %q is there twice", kv.Key)
					}
					seen[kv.Key] = true
				}
				if len(l.TraceId) != 0 && len(l.TraceId) != 16 || len(l.SpanId) != 0 && len(l.SpanId) != 8 {
					t.Errorf("ids %x %x", l.TraceId, l.SpanId)
				}
			}
		}
		words := 0
		for _, c := range r.ByReason {
			words += c
		}
		if n != r.Accepted || words != r.Rejected || len(r.Errors) != min(r.Rejected, maxErrors) {
			t.Errorf("%d records, accepted %d, rejected %d in %v, %d errors", n, r.Accepted, r.Rejected, r.ByReason, len(r.Errors))
		}
		for i, e := range r.Errors {
			if e.Line < 1 || e.Line > 1+strings.Count(text, "\n") || i > 0 && e.Line < r.Errors[i-1].Line && !strings.Contains(e.Reason, "not closed") {
				t.Errorf("errors %v of %q", r.Errors, text)
			}
		}
	})
}

// FuzzObject compares the leaves of one object with what encoding/json reads.
func FuzzObject(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.TrimLeft(text, " \t\r\n")
		if !strings.HasPrefix(text, "{") {
			return
		}
		var fs fields
		fs.reset()
		end, err := fs.object(text, 0, "", record.MaxDepth)
		dec := json.NewDecoder(bytes.NewReader([]byte(text)))
		dec.UseNumber()
		var want map[string]any
		wantErr := dec.Decode(&want)
		var syntax *jsonscan.SyntaxError
		if errors.As(err, &syntax) && syntax.TooDeep {
			return
		}
		if (err == nil) != (wantErr == nil) && !errors.Is(wantErr, io.ErrUnexpectedEOF) {
			t.Fatalf("object(%q) = %v, encoding/json says %v", text, err, wantErr)
		}
		if err != nil {
			return
		}
		if got := int(dec.InputOffset()); got != end {
			t.Fatalf("object(%q) ends at %d, encoding/json at %d", text, end, got)
		}
		if hasDuplicates(text) || fs.dropped > 0 {
			return // the last of two nested objects replaces the first there; here they are merged
		}
		leaves, got := map[string]string{}, map[string]string{}
		flat(leaves, "", want)
		for _, one := range fs.list {
			if len(one.key) > record.MaxKeyBytes {
				return
			}
			got[one.key] = one.value
			if one.kind == kindArray {
				got[one.key] = "array"
			}
		}
		for key := range leaves {
			if len(key) > record.MaxKeyBytes {
				return
			}
		}
		if diff := cmp.Diff(leaves, got); diff != "" {
			t.Fatalf("%q: -encoding/json +object\n%s", text, diff)
		}
	})
}

// hasDuplicates reports whether two leaves or objects of a text have the same path.
func hasDuplicates(text string) bool {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	seen := map[string]bool{}
	var walk func(prefix string) bool
	walk = func(prefix string) bool {
		tok, err := dec.Token()
		if err != nil {
			return true
		}
		switch tok {
		case json.Delim('{'):
			for dec.More() {
				key, err := dec.Token()
				if err != nil {
					return true
				}
				path := key.(string)
				if prefix != "" {
					path = prefix + "." + path
				}
				if seen[path] || path == "" {
					return true
				}
				seen[path] = true
				if walk(path) {
					return true
				}
			}
			_, err = dec.Token()
			return err != nil
		case json.Delim('['):
			for dec.More() {
				var skip json.RawMessage
				if dec.Decode(&skip) != nil {
					return true
				}
			}
			_, err = dec.Token()
			return err != nil
		}
		return false
	}
	return walk("")
}
