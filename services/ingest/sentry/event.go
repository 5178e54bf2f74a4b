package sentry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// Normaliser makes error events of what SDKs send. It is safe for concurrent use.
type Normaliser struct {
	zstd *zstd.Encoder
}

// NewNormaliser makes a normaliser.
func NewNormaliser() *Normaliser {
	// Events are small: a small window keeps the encoder's memory small as well.
	encoder, err := zstd.NewWriter(nil, zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // of these options only
	}
	return &Normaliser{zstd: encoder}
}

// Event reads one event as JSON. Errors wrap ErrMalformed, ErrTooLarge or ErrNotKept: the last for
// transactions and other things that come in the shape of events.
func (n *Normaliser) Event(raw []byte, meta Meta) (*telemetrypb.ErrorEvent, error) {
	if len(raw) > MaxEventBytes {
		return nil, fmt.Errorf("event of %d bytes is %w: the limit is %d", len(raw), ErrTooLarge, MaxEventBytes)
	}
	in, err := decodeObject(raw)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	return n.event(in, meta)
}

func (n *Normaliser) event(in map[string]any, meta Meta) (*telemetrypb.ErrorEvent, error) {
	switch kind := text(in["type"]); kind {
	case "transaction", "profile", "replay_event", "feedback", "generic":
		return nil, fmt.Errorf("event of type %s is %w", kind, ErrNotKept)
	}
	z := sanitiser{meta: meta}
	tree := z.event(in)

	id := meta.EventID
	if id == [16]byte{} {
		id, _ = ParseID(text(in["event_id"]))
	}
	if id == [16]byte{} {
		id = meta.FallbackID
	}
	at := meta.ReceivedAt
	if t, ok := parseTime(in["timestamp"]); ok {
		at, _ = meta.at(t)
	}
	tree["event_id"] = hex.EncodeToString(id[:])
	tree["timestamp"] = at.UTC().Format(time.RFC3339Nano)

	v := view(tree)
	g := v.grouping()
	tree["_midwatch"] = map[string]any{"grouping": g.explain()}
	tags := v.tags()
	main := v.main()
	e := &telemetrypb.ErrorEvent{
		ProjectId:       meta.Project,
		ReceivedAt:      uint64(meta.ReceivedAt.UnixNano()),
		Time:            uint64(at.UnixNano()),
		EventId:         id[:],
		IssueId:         g.id(),
		GroupingVersion: GroupingVersion,
		Level:           level(text(tree["level"])),
		Platform:        orElse(strings.ToLower(text(tree["platform"])), "other"),
		Environment:     text(tree["environment"]),
		Release:         text(tree["release"]),
		Type:            main.typ,
		Value:           main.value,
		Culprit:         v.culprit(),
		Transaction:     text(tree["transaction"]),
		ServerName:      text(tree["server_name"]),
		UserId:          userID(object(tree["user"])),
		TraceId:         traceID(tree),
		Tags:            tags,
	}
	if len(v.exceptions) == 0 {
		e.Value = text(tree["message"])
	}
	e.Title = title(e)
	tree["level"] = e.Level
	payload, err := encode(tree)
	if err != nil {
		return nil, err
	}
	e.PayloadZstd = n.zstd.EncodeAll(payload, nil)
	return e, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// encode makes JSON of at most MaxEventBytes, leaving away the bulkiest parts if it has to.
func encode(tree map[string]any) ([]byte, error) {
	drops := []func(){
		func() { eachFrame(tree, func(frame map[string]any) { delete(frame, "vars") }) },
		func() { delete(tree, "debug_meta"); delete(tree, "modules"); delete(tree, "threads") },
		func() { delete(tree, "breadcrumbs") },
		func() { delete(tree, "extra"); delete(tree, "contexts"); delete(tree, "request") },
		func() {
			eachFrame(tree, func(frame map[string]any) { delete(frame, "pre_context"); delete(frame, "post_context") })
		},
		func() {
			maps.DeleteFunc(tree, func(name string, _ any) bool {
				return !slices.Contains([]string{"event_id", "timestamp", "level", "platform", "message", "tags", "user", "release", "environment", "_midwatch"}, name)
			})
		},
	}
	for {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(tree); err != nil {
			return nil, fmt.Errorf("encode event: %w", err)
		}
		if b.Len() <= MaxEventBytes || len(drops) == 0 {
			return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
		}
		drops[0]()
		drops = drops[1:]
	}
}

func eachFrame(tree map[string]any, f func(map[string]any)) {
	stacks := []any{tree["stacktrace"]}
	for _, name := range []string{"exception", "threads"} {
		for _, v := range list(tree[name]) {
			stacks = append(stacks, object(v)["stacktrace"])
		}
	}
	for _, s := range stacks {
		for _, frame := range list(object(s)["frames"]) {
			f(object(frame))
		}
	}
}

func level(s string) string {
	switch s = strings.ToLower(s); s {
	case "fatal", "error", "warning", "info", "debug":
		return s
	case "warn":
		return "warning"
	case "critical":
		return "fatal"
	case "log", "notice":
		return "info"
	case "trace":
		return "debug"
	}
	return "error"
}

// title is the issue's headline: type and first line of the value, bounded.
func title(e *telemetrypb.ErrorEvent) string {
	value := cut(firstLine(e.Value), 256)
	switch {
	case e.Type == "" && value == "":
		if place := orElse(e.Transaction, e.Culprit); place != "" {
			return "Event without a message in " + place
		}
		return "Event without a message"
	case e.Type == "":
		return value
	case value == "" || value == e.Type:
		return e.Type
	default:
		return e.Type + ": " + value
	}
}

// userID is the best identity of the affected user.
func userID(user map[string]any) string {
	for _, name := range []string{"id", "email", "username", "ip_address"} {
		if s := text(user[name]); s != "" && s != filtered {
			return s
		}
	}
	return ""
}

func traceID(tree map[string]any) []byte {
	id, ok := ParseID(text(object(object(tree["contexts"])["trace"])["trace_id"]))
	if !ok {
		return nil
	}
	return id[:]
}

// ---- a typed view of the canonical tree

type frame struct {
	function, module, file, pkg, context, platform string
	inApp                                          bool
	told                                           bool // the SDK told inApp
}

type exception struct {
	typ, value, module string
	synthetic          bool // its type is an artefact of the SDK
	group              bool // it stands for several others
	mechanism          string
	handled            *bool
	id, parent         int64 // within a tree of exceptions; -1 where there is none
	frames             []frame
}

type event struct {
	tree       map[string]any
	platform   string
	exceptions []exception
	// stack is that of a thread or of the event itself, where no exception has one.
	stack []frame
}

func view(tree map[string]any) *event {
	v := &event{tree: tree, platform: strings.ToLower(text(tree["platform"]))}
	for _, x := range list(tree["exception"]) {
		v.exceptions = append(v.exceptions, v.exception(object(x)))
	}
	hasStack := slices.ContainsFunc(v.exceptions, func(x exception) bool { return len(x.frames) > 0 })
	if !hasStack {
		v.stack = v.frames(tree["stacktrace"])
	}
	if !hasStack && len(v.stack) == 0 {
		v.stack = v.threadStack(list(tree["threads"]))
	}
	v.markInApp()
	return v
}

// threadStack is that of the thread that crashed, or else of the current one.
func (v *event) threadStack(threads []any) []frame {
	for _, flag := range []string{"crashed", "current"} {
		for _, t := range threads {
			if is, _ := boolean(object(t)[flag]); is {
				if frames := v.frames(object(t)["stacktrace"]); len(frames) > 0 {
					return frames
				}
			}
		}
	}
	if len(threads) == 1 {
		return v.frames(object(threads[0])["stacktrace"])
	}
	return nil
}

func (v *event) exception(in map[string]any) exception {
	m := object(in["mechanism"])
	x := exception{
		typ: text(in["type"]), value: text(in["value"]), module: text(in["module"]),
		mechanism: text(m["type"]), id: -1, parent: -1,
		frames: v.frames(in["stacktrace"]),
	}
	x.synthetic, _ = boolean(m["synthetic"])
	x.group, _ = boolean(m["is_exception_group"])
	if b, ok := boolean(m["handled"]); ok {
		x.handled = &b
	}
	if n, ok := integer(m["exception_id"]); ok {
		x.id = n
	}
	if n, ok := integer(m["parent_id"]); ok {
		x.parent = n
	}
	return x
}

func (v *event) frames(stacktrace any) []frame {
	var out []frame
	for _, f := range list(object(stacktrace)["frames"]) {
		in := object(f)
		fr := frame{
			function: text(in["function"]), module: text(in["module"]), pkg: text(in["package"]),
			file: orElse(text(in["filename"]), text(in["abs_path"])), context: text(in["context_line"]),
			platform: orElse(strings.ToLower(text(in["platform"])), v.platform),
		}
		fr.inApp, fr.told = boolean(in["in_app"])
		out = append(out, fr)
	}
	return out
}

// markInApp decides which frames are the application's own: what the SDK says, and where it says
// yes of no frame, all those that it says nothing about and that are not of a known library.
func (v *event) markInApp() {
	stacks := [][]frame{v.stack}
	for _, x := range v.exceptions {
		stacks = append(stacks, x.frames)
	}
	own := false
	for _, s := range stacks {
		own = own || slices.ContainsFunc(s, func(f frame) bool { return f.inApp })
	}
	for _, s := range stacks {
		for i := range s {
			if !own && !s[i].told {
				s[i].inApp = !s[i].library()
			}
		}
	}
}

// libraryPaths and libraryModules tell the frames of libraries where an SDK does not.
var (
	libraryPaths = []string{
		"node_modules/", "site-packages/", "dist-packages/", "/lib/python", "<frozen ", "/gems/", "/vendor/",
		"/usr/lib/", "/usr/include/", "/rustc/", "/.cargo/registry/", "/go/pkg/mod/", "/usr/local/go/", "webpack/bootstrap",
		"[native code]", "[internal]",
	}
	libraryModules = []string{
		"java.", "javax.", "jakarta.", "jdk.", "sun.", "com.sun.", "kotlin.", "kotlinx.", "scala.", "android.", "androidx.", "dalvik.",
		"com.android.", "org.springframework.", "org.apache.", "org.eclipse.", "org.hibernate.", "io.netty.", "reactor.",
		"System.", "Microsoft.", "node:", "internal/", "runtime", "net/http", "testing", "core::", "std::", "alloc::", "tokio::",
	}
)

func (f frame) library() bool {
	for _, p := range libraryPaths {
		if strings.Contains(f.file, p) {
			return true
		}
	}
	for _, p := range libraryModules {
		if strings.HasPrefix(f.module, p) {
			return true
		}
	}
	return strings.HasPrefix(f.file, "node:")
}

// main is the exception that names the event: the outermost one, or within groups of one kind what
// they hold.
func (v *event) main() exception {
	if len(v.exceptions) == 0 {
		return exception{}
	}
	main := v.exceptions[len(v.exceptions)-1]
	for main.group && main.id >= 0 {
		children := v.children(main.id)
		if len(children) == 0 || slices.ContainsFunc(children, func(x exception) bool {
			return x.typ != children[0].typ || parameterise(x.value) != parameterise(children[0].value)
		}) || children[0].id <= main.id { // ids only grow downwards: no way round in circles
			break
		}
		main = children[0]
	}
	return main
}

func (v *event) children(id int64) []exception {
	var out []exception
	for _, x := range v.exceptions {
		if x.parent == id {
			out = append(out, x)
		}
	}
	return out
}

// top is the frame where the event happened: the newest of the application's own, of the
// outermost exception that has frames.
func (v *event) top() (frame, bool) {
	stacks := [][]frame{v.main().frames}
	for _, x := range slices.Backward(v.exceptions) {
		stacks = append(stacks, x.frames)
	}
	stacks = append(stacks, v.stack)
	for _, own := range []bool{true, false} {
		for _, s := range stacks {
			for _, f := range slices.Backward(s) {
				if (f.inApp || !own) && (f.function != "" || f.module != "" || f.file != "") {
					return f, true
				}
			}
		}
	}
	return frame{}, false
}

// culprit says where it happened, for people.
func (v *event) culprit() string {
	f, ok := v.top()
	if !ok {
		return orElse(text(v.tree["culprit"]), text(v.tree["transaction"]))
	}
	place := f.module
	if place == "" || f.script() && f.file != "" { // a module of JavaScript is only a file's name cut short
		place = f.file
		if strings.Contains(place, "://") || strings.HasPrefix(place, "/") {
			place, _, _ = strings.Cut(place, "?")
			place = path.Base(place)
		}
	}
	switch {
	case f.function == "" || f.function == "?":
		return cut(place, maxName)
	case place == "":
		return cut(f.function, maxName)
	}
	return cut(f.function+" in "+place, maxName)
}

// tags are those of the sender and what else events are told apart by.
func (v *event) tags() []*telemetrypb.KeyValue {
	all := map[string]string{}
	set := func(key, value string) {
		if value = strings.Join(strings.Fields(value), " "); value != "" {
			all[key] = cut(value, maxTagValue)
		}
	}
	contexts := object(v.tree["contexts"])
	for _, name := range []string{"browser", "os", "runtime", "device"} {
		c := object(contexts[name])
		label := orElse(text(c["name"]), text(c["model"]))
		if label != "" && text(c["version"]) != "" {
			label += " " + text(c["version"])
		}
		set(name, label)
	}
	if headers := object(object(v.tree["request"])["headers"]); headers != nil {
		browser, os := userAgent(text(headers["User-Agent"]))
		if all["browser"] == "" {
			set("browser", browser)
		}
		if all["os"] == "" && v.platform == "javascript" { // elsewhere the user agent is that of a visitor
			set("os", os)
		}
	}
	address, _, _ := strings.Cut(text(object(v.tree["request"])["url"]), "?")
	set("url", address)
	set("logger", text(v.tree["logger"]))
	set("dist", text(v.tree["dist"]))
	if main := v.main(); main.mechanism != "" || main.handled != nil {
		set("mechanism", main.mechanism)
		if main.handled != nil {
			set("handled", text(*main.handled))
		}
	}
	for k, value := range object(v.tree["tags"]) {
		set(k, text(value))
	}
	out := make([]*telemetrypb.KeyValue, 0, len(all))
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(out, &telemetrypb.KeyValue{Key: k, Value: all[k]})
	}
	return out
}

// userAgent names the browser with its major version, and the system. The order matters: each
// browser also claims to be those after it.
func userAgent(s string) (browser, os string) {
	for _, b := range []struct{ mark, name string }{
		{"Edg/", "Edge"},
		{"OPR/", "Opera"},
		{"SamsungBrowser/", "Samsung Internet"},
		{"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"},
		{"CriOS/", "Chrome"},
		{"Chrome/", "Chrome"},
		{"Version/", "Safari"},
	} {
		if _, rest, ok := strings.Cut(s, b.mark); ok {
			major := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
			if b.name == "Safari" && !strings.Contains(s, "Safari/") || major == "" {
				continue
			}
			browser = b.name + " " + major
			break
		}
	}
	for _, o := range []struct{ mark, name string }{
		{"Windows NT", "Windows"}, {"Android", "Android"}, {"iPhone", "iOS"}, {"iPad", "iOS"}, {"Mac OS X", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	} {
		if strings.Contains(s, o.mark) {
			return browser, o.name
		}
	}
	return browser, ""
}
