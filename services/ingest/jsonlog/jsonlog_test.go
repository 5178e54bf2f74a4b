package jsonlog

import (
	"encoding/hex"
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

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
)

var update = flag.Bool("update", false, "write the golden files again")

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func decode(text string) *Result { return Decode(text, record.NewWindow(now, 400)) }

// TestGolden reads what shippers and loggers really send.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("golden files: %v, %v", files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) == 0 || archive.Files[0].Name != "input" {
				t.Fatalf("%s does not begin with input", name)
			}
			got := show(decode(string(archive.Files[0].Data)))
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(archive.Files) != 2 {
				t.Fatalf("%s has no want", name)
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// show writes a result for people.
func show(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "accepted %d rejected %d timed %t\n", r.Accepted, r.Rejected, r.Timed)
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "line %d: %s\n", e.Line, e.Reason)
	}
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "group service=%q%s\n", g.Service, showKVs(g.Resource))
		for _, l := range g.Records {
			fmt.Fprintf(&b, "  %s\n", showRecord(l))
		}
	}
	return b.String()
}

func showRecord(l *telemetrypb.LogRecord) string {
	at := "now"
	if l.Time != uint64(now.UnixNano()) {
		at = time.Unix(0, int64(l.Time)).UTC().Format(time.RFC3339Nano)
	}
	s := fmt.Sprintf("%s %d(%s) %q%s", at, l.Severity, l.SeverityText, l.Body, showKVs(l.Attributes))
	if len(l.TraceId) > 0 {
		s += " trace=" + hex.EncodeToString(l.TraceId)
	}
	if len(l.SpanId) > 0 {
		s += " span=" + hex.EncodeToString(l.SpanId)
	}
	return s
}

func showKVs(kvs []*telemetrypb.KeyValue) string {
	var b strings.Builder
	for _, kv := range kvs {
		fmt.Fprintf(&b, " %s=%q", kv.Key, kv.Value)
	}
	return b.String()
}

// one decodes a text that has one record and shows it, with its group.
func one(t *testing.T, text string) string {
	t.Helper()
	r := decode(text)
	if r.Accepted != 1 || r.Rejected != 0 {
		t.Fatalf("Decode(%s) = %s, want one record", text, show(r))
	}
	g := r.Groups[0]
	s := showRecord(g.Records[0])
	if g.Service != "" || len(g.Resource) > 0 {
		s += " | " + g.Service + showKVs(g.Resource)
	}
	return s
}

func TestFields(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		// Times.
		`{"msg":"a","timestamp":"2026-11-21T10:00:00Z"}`:                        `2026-11-21T10:00:00Z 0() "a"`,
		`{"msg":"a","@timestamp":"2026-11-21T10:00:00.123456789+02:00"}`:        `2026-11-21T08:00:00.123456789Z 0() "a"`,
		`{"msg":"a","time":"2026-11-21 10:00:00,5"}`:                            `2026-11-21T10:00:00.5Z 0() "a"`,
		`{"msg":"a","time":"2026/11/21 10:00:00 -0130"}`:                        `2026-11-21T11:30:00Z 0() "a"`,
		`{"msg":"a","ts":1795255200}`:                                           `2026-11-21T10:00:00Z 0() "a"`,
		`{"msg":"a","ts":1795255200.25}`:                                        `2026-11-21T10:00:00.25Z 0() "a"`,
		`{"msg":"a","ts":1.7952552e9}`:                                          `2026-11-21T10:00:00Z 0() "a"`,
		`{"msg":"a","time":1795255200123}`:                                      `2026-11-21T10:00:00.123Z 0() "a"`,
		`{"msg":"a","time":"1795255200123.5"}`:                                  `2026-11-21T10:00:00.1235Z 0() "a"`,
		`{"msg":"a","timeMillis":1795255200123456}`:                             `2026-11-21T10:00:00.123456Z 0() "a"`,
		`{"msg":"a","date":1795255200123456789}`:                                `2026-11-21T10:00:00.123456789Z 0() "a"`,
		`{"msg":"a","dt":"21/Nov/2026:10:00:00 +0000"}`:                         `2026-11-21T10:00:00Z 0() "a"`,
		`{"msg":"a","timestamp":{"seconds":1795255200,"nanos":5}}`:              `2026-11-21T10:00:00.000000005Z 0() "a"`,
		`{"msg":"a","timestampSeconds":"1795255200","timestampNanos":7}`:        `2026-11-21T10:00:00.000000007Z 0() "a"`,
		`{"time":"2026-11-21T10:00:00Z","msg":"a","Timestamp":"no time"}`:       `2026-11-21T10:00:00Z 0() "a" Timestamp="no time"`,
		`{"time":"2026-11-21T09:00:00Z","ts":"2026-11-21T10:00:00Z","msg":"a"}`: `2026-11-21T09:00:00Z 0() "a" ts="2026-11-21T10:00:00Z"`,
		`{"msg":"a","time":0.012}`:                                              `now 0() "a" time="0.012"`,
		`{"msg":"a","time":"2026-02-30T00:00:00Z"}`:                             `now 0() "a" time="2026-02-30T00:00:00Z"`,
		// Levels.
		`{"msg":"a","level":"info"}`:                       `now 9(info) "a"`,
		`{"msg":"a","level":30}`:                           `now 9(30) "a"`,
		`{"msg":"a","level":"50"}`:                         `now 17(50) "a"`,
		`{"msg":"a","level":3}`:                            `now 17(3) "a"`,
		`{"msg":"a","level":"INFO+2"}`:                     `now 11(INFO+2) "a"`,
		`{"msg":"a","level":"DEBUG-4"}`:                    `now 1(DEBUG-4) "a"`,
		`{"msg":"a","levelname":"CRITICAL"}`:               `now 21(CRITICAL) "a"`,
		`{"msg":"a","log":{"level":"warn"}}`:               `now 13(warn) "a"`,
		`{"msg":"a","level":"loud"}`:                       `now 0(loud) "a"`,
		`{"msg":"a","severity":"NOTICE","status":"error"}`: `now 10(NOTICE) "a" status="error"`,
		`{"msg":"a","status":"error"}`:                     `now 17(error) "a" status="error"`,
		`{"msg":"a","status":404}`:                         `now 0() "a" status="404"`,
		`{"msg":"a","status":"active"}`:                    `now 0() "a" status="active"`,
		`{"MESSAGE":"a","PRIORITY":"4"}`:                   `now 13(4) "a" PRIORITY="4"`,
		`{"msg":"a","level":true}`:                         `now 0() "a" level="true"`,
		// Messages.
		`{"message":"a","msg":"b"}`:                      `now 0() "a" msg="b"`,
		`{"_msg":"a"}`:                                   `now 0() "a"`,
		`{"short_message":"a","full_message":"b"}`:       `now 0() "a" full_message="b"`,
		`{"textPayload":"a"}`:                            `now 0() "a"`,
		`{"@mt":"a {b}","b":1}`:                          `now 0() "a {b}" b="1"`,
		`{"message":5}`:                                  `now 0() "5"`,
		`{"event":7,"msg":"a"}`:                          `now 0() "a" event="7"`,
		`{"message":""}`:                                 `now 0() ""`,
		`{"path":"/x","status":200}`:                     `now 0() "{\"path\":\"/x\",\"status\":200}" path="/x" status="200"`,
		`{"err":{"type":"T","message":"m","stack":"s"}}`: `now 0() "m" err.type="T" err.message="m" err.stack="s"`,
		`{"message":"a","error":"boom"}`:                 `now 0() "a" error="boom"`,
		`"just text"`:                                    `now 0() "just text"`,
		`17`:                                             `now 0() "17"`,
		`{}`:                                             `now 0() "{}"`,
		`{"message":{"text":"a","n":1},"log":"b"}`:       `now 0() "b" message.text="a" message.n="1"`,
		// Containers.
		`{"log":"hello\n","stream":"stderr","time":"2026-11-21T10:00:00.5Z"}`:                             `2026-11-21T10:00:00.5Z 0() "hello" stream="stderr"`,
		`{"log":"{\"level\":\"warn\",\"msg\":\"in\"}\n","stream":"stdout","time":"2026-11-21T10:00:00Z"}`: `2026-11-21T10:00:00Z 13(warn) "in" stream="stdout"`,
		`{"log":"{\"ts\":1795255201,\"msg\":\"in\"}\n","level":"info","time":"2026-11-21T10:00:00Z"}`:     `2026-11-21T10:00:01Z 9(info) "in" time="2026-11-21T10:00:00Z"`,
		`{"log":"{broken\n","stream":"stdout"}`:                                                           `now 0() "{broken" stream="stdout"`,
		`{"log":"{\"a\":1}","stream":"stdout"}`:                                                           `now 0() "{\"a\":1}" stream="stdout" a="1"`,
		// Service, host, environment.
		`{"msg":"a","service":"api","host":"h1","env":"prod"}`:                           `now 0() "a" | api host.name="h1" deployment.environment.name="prod"`,
		`{"msg":"a","service":{"name":"api"},"host":{"name":"h1"}}`:                      `now 0() "a" | api host.name="h1"`,
		`{"msg":"a","logger":"x.y","app":""}`:                                            `now 0() "a" logger="x.y" app="" | x.y`,
		`{"msg":"a","kubernetes":{"container_name":"c","host":"n1","labels":{"x":"y"}}}`: `now 0() "a" kubernetes.container_name="c" kubernetes.host="n1" kubernetes.labels.x="y" | c host.name="n1"`,
		// Traces.
		`{"msg":"a","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"}`:          `now 0() "a" trace=0af7651916cd43dd8448eb211c80319c span=b7ad6b7169203331`,
		`{"msg":"a","traceId":"0AF76519-16CD-43DD-8448-EB211C80319C"}`:                                    `now 0() "a" trace=0af7651916cd43dd8448eb211c80319c`,
		`{"msg":"a","dd":{"trace_id":"258","span_id":3}}`:                                                 `now 0() "a" trace=00000000000000000000000000000102 span=0000000000000003`,
		`{"msg":"a","logging.googleapis.com/trace":"projects/p/traces/0af7651916cd43dd8448eb211c80319c"}`: `now 0() "a" trace=0af7651916cd43dd8448eb211c80319c`,
		`{"msg":"a","trace_id":"1-5759e988-bd862e3fe1be46a994272793"}`:                                    `now 0() "a" trace=5759e988bd862e3fe1be46a994272793`,
		`{"msg":"a","trace_id":"00000000000000000000000000000000"}`:                                       `now 0() "a" trace_id="00000000000000000000000000000000"`,
		`{"msg":"a","trace_id":"nope"}`:                                                                   `now 0() "a" trace_id="nope"`,
		// Values.
		`{"msg":"a","n":1e5,"t":true,"z":null,"l":[1, {"x":"y"}],"o":{"p":{"q":"r"},"e":{}}}`: `now 0() "a" n="1e5" t="true" l="[1, {\"x\":\"y\"}]" o.p.q="r"`,
		`{"msg":"\u00e4\ud83d\ude00\ud83d \"\\\/\b\f\n\r\t"}`:                                 `now 0() "ä😀� \"\\/\b\f\n\r\t"`,

		// What is not UTF-8.
		"{\"msg\":\"a\xffb\xc3\"}": `now 0() "a�b�"`,
		`{"msg":"a","k":1,"k":2}`:  `now 0() "a" k="2"`,
		`{"msg":"a","msg":"b"}`:    `now 0() "b"`,
	} {
		if got := one(t, text); got != want {
			t.Errorf("Decode(%s)\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	bodies := func(r *Result) string {
		var all []string
		for _, g := range r.Groups {
			for _, l := range g.Records {
				all = append(all, l.Body)
			}
		}
		return strings.Join(all, " ")
	}
	for text, want := range map[string]string{
		"":                          "",
		" \r\n\t":                   "",
		"[]":                        "",
		`{"msg":"a"}`:               "a",
		`[{"msg":"a"},{"msg":"b"}]`: "a b",
		"[\n{\"msg\":\"a\"},\n{\"msg\":\"b\"}\n]\n":      "a b",
		"{\"msg\":\"a\"}\n{\"msg\":\"b\"}":               "a b",
		"{\"msg\":\"a\"}\r\n\r\n{\"msg\":\"b\"}\r\n":     "a b",
		`{"msg":"a"}{"msg":"b"} {"msg":"c"}`:             "a b c",
		`{"msg":"a"},{"msg":"b"},`:                       "a b",
		"[{\"msg\":\"a\"}]\n[{\"msg\":\"b\"}]":           "a b",
		"\ufeff{\"msg\":\"a\"}":                          "a",
		`"a" "b"`:                                        "a b",
		`["a",1,true]`:                                   "a 1 true",
		"{\n  \"msg\": \"a\"\n}\n{\n  \"msg\": \"b\"\n}": "a b",
	} {
		r := decode(text)
		if r.Rejected != 0 || bodies(r) != want {
			t.Errorf("Decode(%q) = %s, want %q", text, show(r), want)
		}
	}
}

func TestBadRecordsAreNamedAndGoodOnesKept(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	deepArray := `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}"
	for text, want := range map[string]string{
		"{\"msg\":\"a\"}\n{bad}\n{\"msg\":\"b\"}\n":            `a b; line 2: not JSON: 'b' where a quoted key is expected, at byte 2 of the line`,
		"{\"msg\":\"a\"}\n{\"msg\":\"x\n{\"msg\":\"b\"}\n":     `a b; line 2: not JSON: a control character within a string, at byte 10 of the line`,
		"{\"msg\":\"a\"\n{\"msg\":\"b\"}\n":                    `b; line 1: not JSON: '{' where a comma or } is expected`,
		"\n\n{\"msg\":\"a\"}\nplain text\n{\"msg\":\"b\"}":     `a b; line 4: not JSON: 'p' where a value is expected, at byte 1 of the line`,
		"[\n{\"msg\":\"a\"},\n{\"msg\":},\n{\"msg\":\"b\"}\n]": `a b; line 3: not JSON: '}' where a value is expected, at byte 8 of the line`,
		`[{"msg":"a"},{"msg":"b"}`:                             `a b; line 1: the array that begins here is not closed: the text may be cut off`,
		"{\"msg\":\"a\"}\n{\"msg\":\"b":                        `a; line 2: not JSON: the text ends within a string, at byte 10 of the line`,
		"null\n{\"msg\":\"a\"}":                                `a; line 1: null is not a record`,
		"[[1],{\"msg\":\"a\"}]":                                `a; line 1: an array within an array is not a record`,
		"12abc\n{\"msg\":\"a\"}":                               `a; line 1: not JSON: 'a' where the end of the value is expected, at byte 3 of the line`,
		deep + "\n{\"msg\":\"a\"}":                             `a; line 1: the record is nested deeper than 32`,
		deepArray + "\n{\"msg\":\"a\"}":                        `a; line 1: the record is nested deeper than 32`,
		"{\n  \"msg\": \"a\",\n  \"b\": oops,\n  \"c\": {\n    \"d\": 1\n  }\n}\n{\n  \"msg\": \"b\"\n}\n": `b; line 1: not JSON: 'o' where a value is expected`,
		`{"msg":"a","time":"2026-10-01T00:00:00Z"}` + "\n" + `{"msg":"b"}`:                                 `b; line 1: the time is more than 30 days in the past`,
		`{"msg":"a","time":"2026-11-21T14:00:00Z"}` + "\n" + `{"msg":"b"}`:                                 `b; line 1: the time is more than one hour in the future`,
		`{"msg":"` + strings.Repeat("x", maxRecordBytes) + `"}` + "\n" + `{"msg":"b"}`:                     `b; line 1: the record has 1048586 bytes, 1048576 are taken`,
	} {
		r := decode(text)
		var got []string
		for _, g := range r.Groups {
			for _, l := range g.Records {
				got = append(got, l.Body)
			}
		}
		s := strings.Join(got, " ")
		for _, e := range r.Errors {
			s += fmt.Sprintf("; line %d: %s", e.Line, e.Reason)
		}
		if s != want || r.Rejected != 1 || r.Accepted != len(got) {
			t.Errorf("Decode(%.200q)\n got %s\nwant %s", text, s, want)
		}
	}
}

func TestOnlyTheFirstBadRecordsAreNamed(t *testing.T) {
	t.Parallel()
	r := decode(strings.Repeat("oops\n", 100) + `{"msg":"a"}`)
	if r.Rejected != 100 || r.Accepted != 1 || len(r.Errors) != maxErrors || r.Errors[19].Line != 20 || r.ByReason["not_json"] != 100 {
		t.Errorf("Decode = %s", show(r))
	}
}

func TestTextThatNeverClosesIsNotReadOverAndOver(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"[\n", "{\"a\":\n", "{\"a\":[1,\n", "\"\n", "[{\n"} {
		text := strings.Repeat(line, 1<<20/len(line))
		d := decoder{text: text, window: record.NewWindow(now, 400), result: &Result{}, line: 1}
		d.all()
		if d.wasted > (maxWaste+1)*len(text) {
			t.Errorf("%q: %d bytes were read for a text of %d", line, d.wasted, len(text))
		}
		if d.result.Accepted != 0 || d.result.Rejected == 0 {
			t.Errorf("%q: accepted %d, rejected %d", line, d.result.Accepted, d.result.Rejected)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"msg":"a"`)
	for i := range 300 {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	b.WriteString(`,"level":"error"}`)
	r := decode(b.String()).Groups[0].Records[0]
	if len(r.Attributes) != record.MaxAttributes+1 || r.Severity != record.Error {
		t.Errorf("%d attributes, severity %d", len(r.Attributes), r.Severity)
	}
	if last := r.Attributes[len(r.Attributes)-1]; last.Key != record.DroppedAttributes || last.Value != "172" {
		t.Errorf("last attribute = %s, want 172 dropped", showKVs(r.Attributes[len(r.Attributes)-1:]))
	}

	long := strings.Repeat("ä", record.MaxBodyBytes)
	r = decode(`{"msg":"` + long + `","v":"` + long[:20000] + `","` + long[:1000] + `":1}`).Groups[0].Records[0]
	if len(r.Body) > record.MaxBodyBytes || !strings.HasSuffix(r.Body, "…[cut]") {
		t.Errorf("body has %d bytes and ends in %q", len(r.Body), r.Body[len(r.Body)-10:])
	}
	if len(r.Attributes) != 3 || r.Attributes[2].Key != record.CutBody || r.Attributes[2].Value != "524288" {
		t.Errorf("attributes%.200s", showKVs(r.Attributes))
	}
	if n := len(r.Attributes[0].Value); n > record.MaxValueBytes || n < record.MaxValueBytes-2 {
		t.Errorf("value has %d bytes", n)
	}
	if n := len(r.Attributes[1].Key); n != record.MaxKeyBytes {
		t.Errorf("key has %d bytes", n)
	}
}

func TestGroupsShareServiceHostAndEnvironment(t *testing.T) {
	t.Parallel()
	r := decode(`{"msg":"1","service":"a"}{"msg":"2","service":"b"}{"msg":"3","service":"a"}{"msg":"4","service":"a","host":"h"}{"msg":"5"}`)
	want := `accepted 5 rejected 0 timed false
group service="a"
  now 0() "1"
  now 0() "3"
group service="b"
  now 0() "2"
group service="a" host.name="h"
  now 0() "4"
group service=""
  now 0() "5"
`
	if diff := cmp.Diff(want, show(r)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTimed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"ts":1795255200,"msg":"a"}`:               true,
		`{"ts":1795255200,"msg":"a"}{"msg":"b"}`:    false,
		`{"ts":1795255200,"msg":"a"} "b"`:           false,
		"{\"ts\":1795255200,\"msg\":\"a\"}\nbroken": true,
		`{"ts":12,"msg":"a"}`:                       false,
	} {
		if got := decode(text).Timed; got != want {
			t.Errorf("Decode(%s).Timed = %t, want %t", text, got, want)
		}
	}
}

// corpusLine is a line as a small web service writes it, about 250 bytes.
const corpusLine = `{"_time":"2026-11-21T07:20:00.123Z","_msg":"GET /api/v1/items/58217 200 in 37ms","level":"info","service":"api","host":"h07","status":200,"duration_ms":37,"trace_id":"5a1f0c9b7d3e42868f6a1b2c3d4e5f60","user_id":31337,"region":"eu-west-1","version":"1.3.0"}` + "\n"

// corpus has n such lines over some services and hosts.
func corpus(n int) string {
	var b strings.Builder
	services := []string{"api", "web", "worker", "billing", "auth", "search", "mailer", "cron"}
	for i := range n {
		line := strings.Replace(corpusLine, `"api"`, `"`+services[i%len(services)]+`"`, 1)
		b.WriteString(strings.Replace(line, "h07", fmt.Sprintf("h%02d", i*7%20), 1))
	}
	return b.String()
}

func TestAllocations(t *testing.T) {
	const lines = 2000
	text := corpus(lines)
	w := record.NewWindow(now, 400)
	per := testing.AllocsPerRun(5, func() { Decode(text, w) }) / lines
	if per > 2 {
		t.Errorf("%.2f allocations a line, want at most 2", per)
	}
}

func BenchmarkDecode(b *testing.B) {
	const lines = 10000
	text := corpus(lines)
	w := record.NewWindow(now, 400)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if r := Decode(text, w); r.Accepted != lines {
			b.Fatal(show(r))
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// flat is the leaves of a JSON object as a record has them, read by encoding/json.
func flat(to map[string]string, prefix string, object map[string]any) {
	for key, value := range object {
		if prefix != "" {
			key = prefix + "." + key
		}
		switch v := value.(type) {
		case map[string]any:
			flat(to, key, v)
		case string:
			to[key] = v
		case json.Number:
			to[key] = v.String()
		case bool:
			to[key] = fmt.Sprint(v)
		case []any:
			to[key] = "array"
		}
	}
}
