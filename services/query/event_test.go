package query

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestParseEventGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/events/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 2 {
				t.Fatalf("%s holds %d files, want input and want", file, len(archive.Files))
			}
			e := parseEvent(archive.Files[0].Data)
			if *update {
				archive.Files[1].Data = golden(t, e)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), string(golden(t, e))); diff != "" {
				t.Errorf("parseEvent (-want +got):\n%s", diff)
			}
		})
	}
}

// golden renders what parseEvent reads, without the fields that come from columns and without raw, which is the input.
func golden(t *testing.T, e Event) []byte {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	m := decodeObject(b)
	for _, column := range []string{"id", "issue_id", "time", "received_at", "level", "platform", "environment", "release", "title", "culprit", "transaction", "server_name", "raw"} {
		delete(m, column)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestParseEventKeepsRaw(t *testing.T) {
	t.Parallel()
	const payload = `{"big":12345678901234567890,"exact":0.10,"nested":{"null":null}}`
	got, err := json.Marshal(parseEvent([]byte(payload)).Raw)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != payload {
		t.Errorf("raw = %s, want %s", got, payload)
	}
}

func TestParseEventBounds(t *testing.T) {
	t.Parallel()
	many := func(n int, format string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = strings.ReplaceAll(format, "#", fmt.Sprint(i))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	e := parseEvent([]byte(`{"exception":` + many(60, `{"type":"#"}`) + `,"breadcrumbs":` + many(600, `{"message":"#"}`) +
		`,"stacktrace":{"frames":` + many(600, `{"function":"#"}`) + `}}`))
	if n, first := len(e.Exceptions), e.Exceptions[0].Type; n != maxExceptions || first != "59" {
		t.Errorf("%d exceptions from %s, want the outermost %d", n, first, maxExceptions)
	}
	if n, first := len(e.Exceptions[0].Frames), *e.Exceptions[0].Frames[0].Function; n != maxFrames || first != "599" {
		t.Errorf("%d frames from %s, want the newest %d", n, first, maxFrames)
	}
	if n, last := len(e.Breadcrumbs), *e.Breadcrumbs[len(e.Breadcrumbs)-1].Message; n != maxBreadcrumbs || last != "599" {
		t.Errorf("%d breadcrumbs to %s, want the newest %d", n, last, maxBreadcrumbs)
	}
	e = parseEvent([]byte(`{"stacktrace":{"frames":[{"pre_context":` + many(60, `"#"`) + `,"post_context":` + many(60, `"#"`) + `}]}}`))
	f := e.Exceptions[0].Frames[0]
	if pre, post := *f.PreContext, *f.PostContext; len(pre) != maxContextLines || pre[0] != "10" || len(post) != maxContextLines || post[0] != "0" {
		t.Errorf("context of %d lines from %s and %d from %s, want the %d nearest", len(pre), pre[0], len(post), post[0], maxContextLines)
	}
}

func TestMoment(t *testing.T) {
	t.Parallel()
	f := func(in any, want string) {
		t.Helper()
		got, ok := moment(in)
		if !ok || got.Format(time.RFC3339Nano) != want {
			t.Errorf("moment(%v) = %v, %t, want %s", in, got, ok, want)
		}
	}
	f(json.Number("1772332866"), "2026-03-01T02:41:06Z")
	f(json.Number("1772332866.123456789"), "2026-03-01T02:41:06.123456789Z")
	f(json.Number("1.772332866e9"), "2026-03-01T02:41:06Z")
	f(json.Number("1772332866123"), "2026-03-01T02:41:06.123Z")
	f("1772332866.5", "2026-03-01T02:41:06.5Z")
	f("2026-03-01T02:41:06", "2026-03-01T02:41:06Z")
	f("2026-03-01 02:41:06.25", "2026-03-01T02:41:06.25Z")
	f("2026-03-01T04:41:06+02:00", "2026-03-01T02:41:06Z")
	f("2026-03-01T04:41:06+0200", "2026-03-01T02:41:06Z")
}

func TestMomentRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []any{nil, true, "", "soon", json.Number("0"), json.Number("-5"), json.Number("1e300"), json.Number("1e-300"), "NaN", "Inf", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", map[string]any{}} {
		if got, ok := moment(in); ok {
			t.Errorf("moment(%v) = %v, want none", in, got)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	files, err := filepath.Glob("testdata/events/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	f.Add([]byte(`{"exception":[{"stacktrace":{"frames":[{"lineno":1e999}]}}],"breadcrumbs":[{"timestamp":1e12}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		e := parseEvent(payload)
		if e.Exceptions == nil || e.Breadcrumbs == nil || e.Tags == nil || e.Raw == nil {
			t.Fatalf("a required field is absent: %+v", e)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Fatalf("the event cannot be written: %v", err)
		}
	})
}
