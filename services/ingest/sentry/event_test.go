package sentry

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// received is the time of every request of these tests.
var received = time.Date(2026, 11, 3, 10, 11, 13, 0, time.UTC)

func testMeta() Meta {
	return Meta{Project: 7, ReceivedAt: received, SentAt: received, PeerIP: "192.0.2.7", FallbackID: [16]byte{15: 1}}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustEvent(t testing.TB, raw string, meta Meta) *telemetrypb.ErrorEvent {
	t.Helper()
	e, err := NewNormaliser().Event([]byte(raw), meta)
	if err != nil {
		t.Fatalf("Event(%.200s): %v", raw, err)
	}
	return e
}

func payload(t testing.TB, e *telemetrypb.ErrorEvent) map[string]any {
	t.Helper()
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := d.DecodeAll(e.PayloadZstd, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > MaxEventBytes {
		t.Fatalf("payload of %d bytes", len(b))
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// at walks into a decoded value.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			o, _ := v.(map[string]any)
			v = o[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func TestEventPython(t *testing.T) {
	t.Parallel()
	e := mustEvent(t, string(read(t, "python.json")), testMeta())
	got := map[string]any{
		"id": hex.EncodeToString(e.EventId), "project": e.ProjectId, "time": time.Unix(0, int64(e.Time)).UTC().Format(time.RFC3339Nano),
		"level": e.Level, "platform": e.Platform, "environment": e.Environment, "release": e.Release, "type": e.Type, "title": e.Title,
		"culprit": e.Culprit, "transaction": e.Transaction, "server": e.ServerName, "user": e.UserId, "trace": hex.EncodeToString(e.TraceId),
		"tags": tagsOf(e), "version": e.GroupingVersion,
	}
	want := map[string]any{
		"id": "6c1f0e7a2f3b4c5d8e9fa0b1c2d3e4f5", "project": uint32(7), "time": "2026-11-03T10:11:12.345678Z",
		"level": "error", "platform": "python", "environment": "production", "release": "shop@1.4.2", "type": "OrderError",
		"title":   "OrderError: order 4711 of 2026-11-03 cannot be packed",
		"culprit": "pack in shop.views", "transaction": "/orders/{id}", "server": "web-1", "user": "17", "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
		"tags": map[string]string{
			"attempt": "3", "tenant": "acme", "browser": "Chrome 142", "handled": "false", "mechanism": "django",
			"logger": "shop.orders", "runtime": "CPython 3.11.2", "url": "https://shop.example.com/orders/4711",
		},
		"version": uint32(1),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	p := payload(t, e)
	for _, c := range []struct {
		want any
		path []any
	}{
		{filtered, []any{"exception", "values", 0, "stacktrace", "frames", 0, "vars", "password"}},
		{"'sku-17'", []any{"exception", "values", 0, "stacktrace", "frames", 0, "vars", "sku"}},
		{nil, []any{"exception", "values", 0, "stacktrace", "frames", 0, "vars", "n"}},
		{filtered, []any{"exception", "values", 1, "stacktrace", "frames", 1, "vars", "card"}},
		{"https://[Filtered]@api.example.com/v1?token=[Filtered]&page=2", []any{"breadcrumbs", "values", 0, "data", "url"}},
		{"2026-11-03T10:11:11Z", []any{"breadcrumbs", "values", 0, "timestamp"}},
		{"page=1&api_key=[Filtered]", []any{"request", "query_string"}},
		{filtered, []any{"request", "cookies", "sessionid"}},
		{filtered, []any{"request", "headers", "Authorization"}},
		{filtered, []any{"request", "headers", "Cookie"}},
		{filtered, []any{"request", "data", "password"}},
		{float64(3), []any{"request", "data", "amount"}},
		{"POST", []any{"request", "method"}},
		{"192.0.2.7", []any{"user", "ip_address"}},
		{"17", []any{"user", "id"}},
		{"1.0", []any{"modules", "secrets-lib"}},
		{"3", []any{"tags", "attempt"}},
		{"{…}", []any{"extra", "deep", "a", "b", "c", "d", "e"}},
		{nil, []any{"_meta"}},
		{"2026-11-03T10:11:12.345678Z", []any{"timestamp"}},
		{byStack, []any{"_midwatch", "grouping", "basis"}},
	} {
		if diff := cmp.Diff(c.want, at(p, c.path...)); diff != "" {
			t.Errorf("payload at %v (-want +got):\n%s", c.path, diff)
		}
	}
	parts := []any{"KeyError", "find in shop.stock", "OrderError", "pack in shop.views"}
	if diff := cmp.Diff(parts, at(p, "_midwatch", "grouping", "parts")); diff != "" {
		t.Errorf("grouping (-want +got):\n%s", diff)
	}
}

func tagsOf(e *telemetrypb.ErrorEvent) map[string]string {
	out := map[string]string{}
	for _, kv := range e.Tags {
		out[kv.Key] = kv.Value
	}
	return out
}

func TestEventOfManyLanguages(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		typ, title, culprit string
		parts               []any
	}{
		"js_message.json": {"", "Payment is slow", "Object.charge in pay.js", []any{"charge in pay.js"}},
		"go.json": {"*fmt.wrapError", "*fmt.wrapError: load user 17: connection refused", "(*Server).handle.func1 in main", []any{
			"*errors.errorString", "connection refused", "*fmt.wrapError", "load user <int>: connection refused", "main in main", "(*Server).handle in main",
		}},
		"ruby.json": {"ZeroDivisionError", "ZeroDivisionError: divided by 0", "/ in job.rb", []any{"ZeroDivisionError", "run in job.rb", "/ in job.rb"}},
		"browser.json": {
			"TypeError", "TypeError: Cannot read properties of undefined (reading 'id')", "checkout in index-BfR3x9_a.js",
			[]any{"TypeError", "in index.js", "checkout in index.js"},
		},
	} {
		e := mustEvent(t, string(read(t, file)), testMeta())
		if e.Type != want.typ || e.Title != want.title || e.Culprit != want.culprit {
			t.Errorf("%s: type %q, title %q, culprit %q", file, e.Type, e.Title, e.Culprit)
		}
		if diff := cmp.Diff(want.parts, at(payload(t, e), "_midwatch", "grouping", "parts")); diff != "" {
			t.Errorf("%s: grouping (-want +got):\n%s", file, diff)
		}
	}
}

// TestGrouping has pairs of events that are one issue or two.
func TestGrouping(t *testing.T) {
	t.Parallel()
	exc := func(typ, value string, frames ...string) string {
		return fmt.Sprintf(`{"platform":"python","exception":{"values":[{"type":%q,"value":%q,"stacktrace":{"frames":[%s]}}]}}`, typ, value, strings.Join(frames, ","))
	}
	frame := func(module, function string, line int, own bool) string {
		return fmt.Sprintf(`{"module":%q,"function":%q,"lineno":%d,"in_app":%t}`, module, function, line, own)
	}
	js := func(typ, value, file, function string) string {
		return fmt.Sprintf(`{"platform":"javascript","exception":{"values":[{"type":%q,"value":%q,"stacktrace":{"frames":[{"filename":%q,"function":%q,"in_app":true,"lineno":1,"colno":999}]}}]}}`, typ, value, file, function)
	}
	native := func(platform, module, function string) string {
		return fmt.Sprintf(`{"platform":%q,"exception":{"values":[{"type":"E","stacktrace":{"frames":[{"module":%q,"function":%q}]}}]}}`, platform, module, function)
	}
	group := func(values ...string) string {
		var all []string
		for i, v := range values {
			all = append(all, fmt.Sprintf(`{"type":"ValueError","value":%q,"mechanism":{"exception_id":%d,"parent_id":0}}`, v, i+1))
		}
		all = append(all, `{"type":"ExceptionGroup","value":"2 sub-exceptions","mechanism":{"exception_id":0,"is_exception_group":true},"stacktrace":{"frames":[{"module":"m","function":"f","in_app":true}]}}`)
		return `{"exception":{"values":[` + strings.Join(all, ",") + `]}}`
	}
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"line numbers and values": {exc("E", "user 1", frame("m", "f", 1, true)), exc("E", "user 2 of x", frame("m", "f", 99, true)), true},
		"functions":               {exc("E", "v", frame("m", "f", 1, true)), exc("E", "v", frame("m", "g", 1, true)), false},
		"modules":                 {exc("E", "v", frame("m", "f", 1, true)), exc("E", "v", frame("n", "f", 1, true)), false},
		"types":                   {exc("E", "v", frame("m", "f", 1, true)), exc("F", "v", frame("m", "f", 1, true)), false},
		"library frames":          {exc("E", "v", frame("lib", "a", 1, false), frame("m", "f", 1, true)), exc("E", "v", frame("m", "f", 1, true), frame("lib", "b", 1, false)), true},
		"only library frames":     {exc("E", "v", frame("lib", "a", 1, false)), exc("E", "v", frame("lib", "b", 1, false)), false},
		"recursion":               {exc("E", "v", frame("m", "f", 1, true)), exc("E", "v", frame("m", "f", 1, true), frame("m", "f", 2, true), frame("m", "f", 3, true)), true},
		"mutual recursion": {
			exc("E", "v", frame("m", "f", 1, true), frame("m", "g", 1, true)),
			exc("E", "v", frame("m", "f", 1, true), frame("m", "g", 1, true), frame("m", "f", 1, true), frame("m", "g", 1, true)), true,
		},
		"environment and release":   {`{"message":"m","environment":"a","release":"1"}`, `{"message":"m","environment":"b","release":"2"}`, true},
		"no stack, ids in values":   {exc("E", "user 17 gone"), exc("E", "user 18 gone"), true},
		"no stack, words in values": {exc("E", "user gone"), exc("E", "order gone"), false},
		"message numbers":           {`{"message":"took 17 ms"}`, `{"message":"took 19 ms"}`, true},
		"message words":             {`{"message":"disk is full"}`, `{"message":"disk is broken"}`, false},
		"message template":          {`{"logentry":{"message":"user %s gone","params":["ann"]}}`, `{"logentry":{"message":"user %s gone","formatted":"user bob gone","params":["bob"]}}`, true},
		"message as an object":      {`{"message":{"message":"user %s gone","params":["ann"]}}`, `{"logentry":{"message":"user %s gone","params":["bob"]}}`, true},
		"status codes":              {`{"message":"failed with status code 404"}`, `{"message":"failed with status code 500"}`, false},
		"fingerprint": {
			`{"fingerprint":["mine"],"message":"a"}`, `{"fingerprint":["mine"],"message":"b"}`, true,
		},
		"fingerprints": {
			`{"fingerprint":["mine"],"message":"a"}`, `{"fingerprint":["yours"],"message":"a"}`, false,
		},
		"default fingerprint is none": {`{"fingerprint":["{{ default }}"],"message":"a"}`, `{"message":"a"}`, true},
		"default and more":            {`{"fingerprint":["{{ default }}","x"],"message":"a"}`, `{"fingerprint":["{{default}}","y"],"message":"a"}`, false},
		"default within":              {`{"fingerprint":["{{ default }}","x"],"message":"a"}`, `{"fingerprint":["{{ default }}","x"],"message":"b"}`, false},
		"tag variable":                {`{"fingerprint":["{{ tags.shop }}"],"tags":{"shop":"a"}}`, `{"fingerprint":["{{ tags.shop }}"],"tags":{"shop":"b"}}`, false},
		"type variable": {
			`{"fingerprint":["{{ error.type }}"],"exception":[{"type":"A","value":"1"}]}`, `{"fingerprint":["{{ type }}"],"exception":[{"type":"A","value":"2"}]}`, true,
		},
		"bundle hashes":      {js("E", "v", "https://x.com/a/main.3f2a9c1b.js", "run"), js("E", "v", "https://cdn.y.com/b/main.99887766.js?v=2", "run"), true},
		"vite hashes":        {js("E", "v", "https://x.com/index-BfR3x9_a.js", "run"), js("E", "v", "https://x.com/index-Zz81kQpL.js", "run"), true},
		"bundle names":       {js("E", "v", "https://x.com/main.js", "run"), js("E", "v", "https://x.com/admin.js", "run"), false},
		"page as a file":     {js("E", "v", "https://x.com/orders/17", "run"), js("E", "v", "https://x.com/orders/18", "run"), true},
		"minified functions": {js("E", "v is 1", "https://x.com/main.js", "t"), js("E", "v is 2", "https://x.com/main.js", "e"), true},
		"minified, values":   {js("E", "v is null", "https://x.com/main.js", "t"), js("E", "w is null", "https://x.com/main.js", "e"), false},
		"receivers":          {js("E", "v", "https://x.com/main.js", "Object.run [as go]"), js("E", "v", "https://x.com/main.js", "Foo.run"), true},
		"java proxies":       {native("java", "com.x.Foo$$EnhancerBySpringCGLIB$$1a2b3c", "run"), native("java", "com.x.Foo$$EnhancerBySpringCGLIB$$99ffaa", "run"), true},
		"java lambdas":       {native("java", "com.x.Foo", "lambda$run$3"), native("java", "com.x.Foo", "lambda$run$7"), true},
		"rust hashes":        {native("rust", "", "shop::pay::h0123456789abcdef"), native("rust", "", "shop::pay::hfedcba9876543210"), true},
		"csharp closures":    {native("csharp", "Shop", "<Pay>b__0"), native("csharp", "Shop", "<Pay>b__3_1"), true},
		"go closures":        {native("go", "main", "run.func1"), native("go", "main", "run.func2.1"), true},
		"php closures":       {native("php", "", "{closure:App\\Foo::bar():42}"), native("php", "", "{closure:App\\Foo::bar():43}"), true},
		"exception groups":   {group("bad 1", "bad 2"), group("bad 3", "bad 4", "bad 5"), true},
		"chains": {
			`{"exception":{"values":[{"type":"A","value":"x"},{"type":"C","value":"z","stacktrace":{"frames":[{"function":"f","module":"m"}]}}]}}`,
			`{"exception":{"values":[{"type":"B","value":"x"},{"type":"C","value":"z","stacktrace":{"frames":[{"function":"f","module":"m"}]}}]}}`, false,
		},
		"synthetic types": {
			`{"exception":{"values":[{"type":"A","mechanism":{"synthetic":true},"stacktrace":{"frames":[{"function":"f","module":"m"}]}}]}}`,
			`{"exception":{"values":[{"type":"B","mechanism":{"synthetic":true},"stacktrace":{"frames":[{"function":"f","module":"m"}]}}]}}`, true,
		},
		"go errors reported at one place": {
			`{"platform":"go","exception":[{"type":"*errors.errorString","value":"no route","stacktrace":{"frames":[{"function":"report","module":"main","in_app":true}]}}]}`,
			`{"platform":"go","exception":[{"type":"*errors.errorString","value":"no money","stacktrace":{"frames":[{"function":"report","module":"main","in_app":true}]}}]}`, false,
		},
		"thread of a message": {
			`{"message":"a","threads":{"values":[{"id":1,"stacktrace":{"frames":[{"function":"x"}]}},{"id":2,"current":true,"stacktrace":{"frames":[{"function":"f","module":"m","in_app":true}]}}]}}`,
			`{"message":"b","threads":[{"current":true,"stacktrace":{"frames":[{"function":"f","module":"m","in_app":true}]}}]}`, true,
		},
		"nothing at all": {`{"transaction":"a"}`, `{"transaction":"b"}`, false},
	} {
		a, b := mustEvent(t, c.a, testMeta()), mustEvent(t, c.b, testMeta())
		if a.IssueId == 0 || b.IssueId == 0 {
			t.Errorf("%s: issue 0", name)
		}
		if got := a.IssueId == b.IssueId; got != c.same {
			t.Errorf("%s: same issue is %t, want %t\n%v\n%v", name, got, c.same,
				at(payload(t, a), "_midwatch", "grouping"), at(payload(t, b), "_midwatch", "grouping"))
		}
	}
}

// TestGroupingIsStable fails when the rules change without a new GroupingVersion: issues would be
// split.
func TestGroupingIsStable(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"python.json": "1/36e092e91ada5dff", "js_message.json": "1/66f4d1f7ffc890ff", "go.json": "1/888a8b7d72b97464", "ruby.json": "1/2c31ff5798e5e724", "browser.json": "1/0ff6d6be1477ce87",
	} {
		e := mustEvent(t, string(read(t, file)), testMeta())
		if got := fmt.Sprintf("%d/%016x", e.GroupingVersion, e.IssueId); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}

func TestEventOddShapes(t *testing.T) {
	t.Parallel()
	for raw, title := range map[string]string{
		`{}`:                                                "Event without a message",
		`{"transaction":"GET /"}`:                           "Event without a message in GET /",
		`{"message":null,"exception":null}`:                 "Event without a message",
		`{"exception":{"values":null}}`:                     "Event without a message",
		`{"exception":{"values":[null]}}`:                   "Event without a message",
		`{"exception":{"type":"E"}}`:                        "E",
		`{"exception":[{"type":"E"}]}`:                      "E",
		`{"exception":{"values":{"type":"E"}}}`:             "E",
		`{"exception":{"values":["oops"]}}`:                 "oops",
		`{"exception":[{"type":"E","value":{"a":1}}]}`:      `E: {"a":1}`,
		`{"exception":[{"type":"E","value":17}]}`:           "E: 17",
		`{"exception":[{"type":"E","value":"\n\n a \nb"}]}`: "E: a",
		`{"message":"a\u0000b"}`:                            "a\uFFFDb",
		`{"message":"\ud800"}`:                              "\uFFFD",
		`{"message":17}`:                                    "17",
		`{"message":[1]}`:                                   "Event without a message",

		`{"logentry":{"message":"{a} %(b)s {c}","params":{"a":1,"b":"x"}}}`: "1 x {c}",
		`{"logentry":{"message":"%s is {} at {0} %d","params":["a","b"]}}`:  "a is b at {0} %d",
		`{"sentry.interfaces.Message":{"message":"old"}}`:                   "old",
		`{"sentry.interfaces.Exception":{"values":[{"type":"Old"}]}}`:       "Old",
		`{"tags":[["a"],null,["b","c"],{"key":"d","value":1}],"message":"x","breadcrumbs":7,"request":[],"user":"x","contexts":[],"threads":"","stacktrace":[[]],"fingerprint":{},"modules":1}`: "x",
		`{"extra":{"x":NaN,"y":-Infinity},"message":"NaN \"Infinity"}`: `NaN "Infinity`,
	} {
		if got := mustEvent(t, raw, testMeta()).Title; got != title {
			t.Errorf("title of %s = %q, want %q", raw, got, title)
		}
	}
}

func TestEventRefuses(t *testing.T) {
	t.Parallel()
	n := NewNormaliser()
	for raw, want := range map[string]error{
		"":                         ErrMalformed,
		"[]":                       ErrMalformed,
		"null":                     ErrMalformed,
		`{"a":`:                    ErrMalformed,
		`{} {}`:                    ErrMalformed,
		strings.Repeat("[", 20000): ErrMalformed,
		`{"x":"` + strings.Repeat("a", MaxEventBytes) + `"}`: ErrTooLarge,
		`{"type":"transaction"}`:                             ErrNotKept,
	} {
		if _, err := n.Event([]byte(raw), testMeta()); !errors.Is(err, want) {
			t.Errorf("Event(%.40q): %v, want %v", raw, err, want)
		}
	}
}

func TestEventTime(t *testing.T) {
	t.Parallel()
	stamp := func(offset time.Duration) string { return received.Add(offset).Format(time.RFC3339Nano) }
	for name, c := range map[string]struct {
		raw    string
		sentAt time.Time
		want   time.Duration // after received
	}{
		"as told":             {stamp(-5 * time.Second), received, -5 * time.Second},
		"seconds":             {"1793700672.5", received, -500 * time.Millisecond},
		"no sent_at":          {stamp(-time.Hour), time.Time{}, -time.Hour},
		"small drift":         {stamp(-40 * time.Second), received.Add(-30 * time.Second), -40 * time.Second},
		"clock an hour slow":  {stamp(-time.Hour - 5*time.Second), received.Add(-time.Hour), -5 * time.Second},
		"clock a day fast":    {stamp(24*time.Hour - 5*time.Second), received.Add(24 * time.Hour), -5 * time.Second},
		"in the future":       {stamp(time.Hour), received, 0},
		"long ago":            {stamp(-31 * 24 * time.Hour), received, 0},
		"not a time":          {"yesterday", received, 0},
		"not a possible time": {"99999999999999999999", received, 0},
	} {
		m := testMeta()
		m.SentAt = c.sentAt
		e := mustEvent(t, `{"message":"x","timestamp":"`+c.raw+`"}`, m)
		if got := time.Unix(0, int64(e.Time)).Sub(received); got != c.want {
			t.Errorf("%s: %s after received, want %s", name, got, c.want)
		}
	}
}

func TestEventID(t *testing.T) {
	t.Parallel()
	const dashed = `{"event_id":"6c1f0e7a-2f3b-4c5d-8e9f-a0b1c2d3e4f5"}`
	if e := mustEvent(t, dashed, testMeta()); hex.EncodeToString(e.EventId) != "6c1f0e7a2f3b4c5d8e9fa0b1c2d3e4f5" {
		t.Errorf("id with dashes: %x", e.EventId)
	}
	m := testMeta()
	m.EventID = [16]byte{1}
	if e := mustEvent(t, dashed, m); e.EventId[0] != 1 {
		t.Errorf("the header's id does not win: %x", e.EventId)
	}
	for _, raw := range []string{`{}`, `{"event_id":"x"}`, `{"event_id":"00000000000000000000000000000000"}`} {
		if e := mustEvent(t, raw, testMeta()); e.EventId[15] != 1 {
			t.Errorf("%s: %x", raw, e.EventId)
		}
	}
}

func TestEventIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	frames := strings.Repeat(`{"function":"f","vars":{"a":"`+strings.Repeat("y", 500)+`"}},`, 900) + `{"function":"last"}`
	crumbs := strings.Repeat(`{"message":"c"},`, 500) + `{"message":"newest"}`
	raw := `{"message":"` + long + `","breadcrumbs":[` + crumbs + `],"exception":[{"type":"E","stacktrace":{"frames":[` + frames + `]}}]}`
	p := payload(t, mustEvent(t, raw, testMeta()))
	if got := len(at(p, "message").(string)); got > maxValue+10 {
		t.Errorf("message of %d bytes", got)
	}
	kept := at(p, "exception", "values", 0, "stacktrace", "frames").([]any)
	if len(kept) != maxFrames || at(kept[len(kept)-1], "function") != "last" {
		t.Errorf("%d frames, the last is %v", len(kept), kept[len(kept)-1])
	}
	all := at(p, "breadcrumbs", "values").([]any)
	if len(all) != maxBreadcrumbs || at(all[len(all)-1], "message") != "newest" {
		t.Errorf("%d breadcrumbs", len(all))
	}
	// Escapes make an event longer than it came: it loses its bulkiest parts, not itself.
	raw = `{"message":"m","extra":{`
	for i := range 90 {
		raw += fmt.Sprintf(`"k%d":"%s",`, i, strings.Repeat("\x7f\u2028", 1900))
	}
	raw += `"z":1}}`
	if len(raw) > MaxEventBytes {
		t.Fatalf("the test's event has %d bytes", len(raw))
	}
	if p := payload(t, mustEvent(t, raw, testMeta())); at(p, "message") != "m" {
		t.Errorf("message lost: %v", p)
	}
}

func FuzzEvent(f *testing.F) {
	for _, name := range []string{"python.json", "js_message.json", "go.json", "ruby.json", "browser.json"} {
		f.Add(read(f, name))
	}
	f.Add([]byte(`{"exception":{"values":[{"mechanism":{"exception_id":0,"parent_id":0,"is_exception_group":true}}]},"fingerprint":["{{ default }}"],"tags":[[1,2]]}`))
	f.Add([]byte(`{"message":"4111111111111111 password=x http://a:b@c ?token=1 eyJaaaaaaaaa.bbbbbbbbbb.c -----BEGIN PRIVATE KEY-----"}`))
	n := NewNormaliser()
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := n.Event(raw, testMeta())
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrNotKept) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if e.IssueId == 0 || len(e.EventId) != 16 || e.Title == "" || e.Level == "" || e.Time == 0 || len(e.Title) > 1000 || len(e.Tags) > maxTags+20 {
			t.Fatalf("incomplete event: %v", e)
		}
		checkUTF8(t, e)
		again, err := n.Event(raw, testMeta())
		if err != nil || again.IssueId != e.IssueId {
			t.Fatal("not the same issue twice")
		}
		// What is kept is an event as well, in the canonical shape.
		kept := payload(t, e)
		b, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) <= MaxEventBytes {
			if _, err := n.Event(b, testMeta()); err != nil && !errors.Is(err, ErrNotKept) {
				t.Fatalf("what is kept cannot be read: %v", err)
			}
		}
	})
}
