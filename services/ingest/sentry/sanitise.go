package sentry

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	maxExceptions  = 50
	maxFrames      = 250 // of one stack trace: half from each end
	maxThreads     = 32
	maxBreadcrumbs = 100
	maxTags        = 100
	maxTagKey      = 200
	maxTagValue    = 200
	maxModules     = 500
	maxFingerprint = 32
	maxName        = 512 // functions, modules, files
	maxValue       = 8192
	contextLines   = 5
)

// limits bound a value of free shape.
type limits struct {
	depth   int // of lists and objects
	entries int // of one list or object
	text    int // bytes of one string
}

var (
	wideLimits = limits{depth: 6, entries: 200, text: 8192}
	varsLimits = limits{depth: 4, entries: 50, text: 1024}
	dataLimits = limits{depth: 4, entries: 50, text: 2048}
)

const (
	// scrubBudget is how many bytes of long texts of one event are searched for secrets. Searching
	// costs time, and nothing is kept that was not searched: beyond it texts are cut short.
	scrubBudget = 256 << 10
	shortText   = 256
)

// sanitiser makes the canonical, bounded, secretless shape of an event.
type sanitiser struct {
	meta Meta
	// searched counts the bytes of long texts.
	searched int
}

// scrub cuts a text to limit bytes and removes what looks like a secret.
func (z *sanitiser) scrub(s string, limit int, source bool) string {
	if min(len(s), limit) > shortText {
		if z.searched >= scrubBudget {
			limit = shortText
		}
		z.searched += min(len(s), limit)
	}
	return scrub(cut(s, limit), source)
}

// value bounds and scrubs a value of free shape.
func (z *sanitiser) value(v any, l limits) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case string:
		return z.scrub(v, l.text, false)
	case json.Number:
		return number(v)
	case []any:
		if l.depth <= 0 {
			return "[…]"
		}
		l.depth--
		out := make([]any, 0, min(len(v), l.entries+1))
		for i, e := range v {
			if i == l.entries {
				out = append(out, "…")
				break
			}
			out = append(out, z.value(e, l))
		}
		return out
	case map[string]any:
		if l.depth <= 0 {
			return "{…}"
		}
		l.depth--
		out := make(map[string]any, min(len(v), l.entries))
		for _, k := range keys(v, l.entries) {
			name := cut(k, maxTagKey)
			if secretName(k) {
				out[name] = hide(v[k])
				continue
			}
			out[name] = z.value(v[k], l)
		}
		return out
	}
	return nil
}

// keys are those of an object, sorted where not all of them can be kept.
func keys(o map[string]any, limit int) []string {
	if len(o) <= limit {
		return slices.Collect(maps.Keys(o))
	}
	return slices.Sorted(maps.Keys(o))[:limit]
}

// hide is what is shown of a secret: whether there was one.
func hide(v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case string:
		if v == "" {
			return v
		}
	}
	return filtered
}

// number is a number of sensible length, else nothing.
func number(n json.Number) any {
	if len(n) > 40 {
		return nil
	}
	return n
}

func (z *sanitiser) text(v any, limit int) string {
	return z.scrub(text(v), limit, false)
}

// put sets a text unless there is none.
func put(out map[string]any, key, s string) {
	if s != "" {
		out[key] = s
	}
}

// aliases are the names that old SDKs use.
var aliases = map[string]string{
	"sentry.interfaces.Exception":   "exception",
	"sentry.interfaces.Stacktrace":  "stacktrace",
	"sentry.interfaces.Message":     "logentry",
	"sentry.interfaces.Http":        "request",
	"sentry.interfaces.User":        "user",
	"sentry.interfaces.Breadcrumbs": "breadcrumbs",
	"sentry.interfaces.Contexts":    "contexts",
}

// event returns the canonical shape of a whole event, without its id and time.
func (z *sanitiser) event(in map[string]any) map[string]any {
	out := make(map[string]any, len(in))
	for _, name := range keys(in, 200) {
		v := in[name]
		if alias, ok := aliases[name]; ok {
			name = alias
		}
		if v == nil {
			continue
		}
		switch name {
		case "exception":
			z.putValues(out, name, z.exceptions(v))
		case "threads":
			z.putValues(out, name, z.threads(v))
		case "stacktrace":
			if s := z.stacktrace(v); s != nil {
				out[name] = s
			}
		case "breadcrumbs":
			z.putValues(out, name, z.breadcrumbs(v))
		case "request":
			out[name] = z.request(object(v))
		case "user":
			out[name] = z.user(object(v))
		case "tags":
			out[name] = z.tags(v)
		case "modules":
			out[name] = z.modules(object(v))
		case "fingerprint":
			if f := z.fingerprint(v); len(f) > 0 {
				out[name] = f
			}
		case "message", "logentry", "timestamp", "start_timestamp", "event_id":
			// below and in Event
		case "_meta", "_metrics", "_midwatch", "errors", "key_id", "project", "spans", "measurements":
			// about the way here, or of kinds that are not kept
		case "platform", "level", "environment", "dist", "type":
			put(out, name, cut(text(v), 64))
		case "logger", "release", "server_name":
			put(out, name, cut(text(v), 250))
		case "transaction", "culprit":
			put(out, name, z.text(v, maxName))
		case "contexts", "extra":
			if o := object(v); o != nil {
				out[name] = z.value(o, wideLimits)
			}
		case "debug_meta":
			if images := list(object(v)["images"]); len(images) > 0 {
				out[name] = map[string]any{"images": z.value(images, wideLimits)}
			}
		default:
			if secretName(name) {
				v = hide(v)
			}
			out[cut(name, maxTagKey)] = z.value(v, dataLimits)
		}
	}
	z.message(in, out)
	return out
}

func (z *sanitiser) putValues(out map[string]any, key string, values []any) {
	if len(values) > 0 {
		out[key] = map[string]any{"values": values}
	}
}

// message takes the message from its several places.
func (z *sanitiser) message(in, out map[string]any) {
	entry := object(in["logentry"])
	if entry == nil {
		entry = object(in["sentry.interfaces.Message"])
	}
	if entry == nil {
		entry = object(in["message"])
	}
	template := z.text(entry["message"], maxValue)
	formatted := z.text(entry["formatted"], maxValue)
	params := entry["params"]
	if formatted == "" {
		// Old SDKs put the formatted message beside its template.
		formatted = z.text(in["message"], maxValue)
	}
	if formatted == "" && template != "" {
		formatted = z.scrub(format(template, params), maxValue, false)
	}
	if formatted == "" {
		return
	}
	out["message"] = formatted
	kept := map[string]any{"formatted": formatted}
	put(kept, "message", template)
	if params != nil {
		kept["params"] = z.value(params, varsLimits)
	}
	out["logentry"] = kept
}

func (z *sanitiser) exceptions(v any) []any {
	var out []any
	for _, e := range last(list(v), maxExceptions) {
		exception := map[string]any{}
		switch e := e.(type) {
		case string:
			put(exception, "value", z.text(e, maxValue))
		case map[string]any:
			put(exception, "type", z.text(e["type"], 300))
			put(exception, "value", z.exceptionValue(e["value"]))
			put(exception, "module", cut(text(e["module"]), maxName))
			if id := text(e["thread_id"]); id != "" {
				exception["thread_id"] = cut(id, 64)
			}
			switch m := e["mechanism"].(type) {
			case string:
				exception["mechanism"] = map[string]any{"type": cut(m, 64)}
			case map[string]any:
				exception["mechanism"] = z.value(m, dataLimits)
			}
			if s := z.stacktrace(e["stacktrace"]); s != nil {
				exception["stacktrace"] = s
			}
		}
		if len(exception) > 0 {
			out = append(out, exception)
		}
	}
	return out
}

// exceptionValue is mostly a text, but some SDKs send the thrown object itself.
func (z *sanitiser) exceptionValue(v any) string {
	switch v.(type) {
	case []any, map[string]any:
		b, err := json.Marshal(z.value(v, dataLimits))
		if err != nil {
			return "" // cannot be: it came from JSON
		}
		return cut(string(b), maxValue)
	}
	return z.text(v, maxValue)
}

// last returns the last limit elements: of exceptions the outermost, of breadcrumbs the newest.
func last(values []any, limit int) []any {
	return values[max(0, len(values)-limit):]
}

// stacktrace returns {"frames": […]} or nil. A bare list of frames is taken as well.
func (z *sanitiser) stacktrace(v any) map[string]any {
	raw, ok := v.([]any)
	if !ok {
		raw = list(object(v)["frames"])
	}
	var omitted []any
	skip := len(raw)
	if len(raw) > maxFrames {
		skip = maxFrames / 2
		omitted = []any{skip, len(raw) - maxFrames/2}
	}
	frames := make([]any, 0, min(len(raw), maxFrames))
	for i, f := range raw {
		if i >= skip && i < len(raw)-maxFrames/2 {
			continue
		}
		if f := z.frame(object(f)); len(f) > 0 {
			frames = append(frames, f)
		}
	}
	if len(frames) == 0 {
		return nil
	}
	out := map[string]any{"frames": frames}
	if omitted != nil {
		out["frames_omitted"] = omitted
	}
	return out
}

func (z *sanitiser) frame(in map[string]any) map[string]any {
	out := make(map[string]any, 12)
	for _, name := range []string{"function", "raw_function", "module", "package", "filename", "abs_path"} {
		limit := maxName
		if name == "filename" || name == "abs_path" {
			limit = 1024
		}
		put(out, name, z.text(in[name], limit))
	}
	for _, name := range []string{"platform", "instruction_addr", "symbol_addr", "image_addr", "trust"} {
		put(out, name, cut(text(in[name]), 64))
	}
	for _, name := range []string{"lineno", "colno"} {
		if n, ok := integer(in[name]); ok && n > 0 {
			out[name] = n
		}
	}
	if b, ok := boolean(in["in_app"]); ok {
		out["in_app"] = b
	}
	put(out, "context_line", z.sourceLine(in["context_line"]))
	if lines := list(in["pre_context"]); len(lines) > 0 {
		out["pre_context"] = z.sourceLines(last(lines, contextLines))
	}
	if lines := list(in["post_context"]); len(lines) > 0 {
		out["post_context"] = z.sourceLines(lines[:min(len(lines), contextLines)])
	}
	if vars := object(in["vars"]); len(vars) > 0 {
		out["vars"] = z.value(vars, varsLimits)
	}
	return out
}

func (z *sanitiser) sourceLine(v any) string { return z.scrub(text(v), 512, true) }

func (z *sanitiser) sourceLines(lines []any) []any {
	out := make([]any, len(lines))
	for i, line := range lines {
		out[i] = z.sourceLine(line)
	}
	return out
}

// threads keeps those that matter first: the crashed and the current one.
func (z *sanitiser) threads(v any) []any {
	raw := list(v)
	matters := func(t any) bool {
		crashed, _ := boolean(object(t)["crashed"])
		current, _ := boolean(object(t)["current"])
		return crashed || current
	}
	if len(raw) > maxThreads {
		raw = slices.Clone(raw)
		slices.SortStableFunc(raw, func(a, b any) int {
			switch x, y := matters(a), matters(b); {
			case x == y:
				return 0
			case x:
				return -1
			default:
				return 1
			}
		})
		raw = raw[:maxThreads]
	}
	var out []any
	for _, t := range raw {
		in := object(t)
		thread := map[string]any{}
		for _, name := range []string{"id", "name", "state"} {
			put(thread, name, cut(text(in[name]), 250))
		}
		for _, name := range []string{"crashed", "current", "main"} {
			if b, ok := boolean(in[name]); ok {
				thread[name] = b
			}
		}
		if s := z.stacktrace(in["stacktrace"]); s != nil {
			thread["stacktrace"] = s
		}
		if len(thread) > 0 {
			out = append(out, thread)
		}
	}
	return out
}

func (z *sanitiser) breadcrumbs(v any) []any {
	var out []any
	for _, b := range last(list(v), maxBreadcrumbs) {
		in := object(b)
		crumb := map[string]any{}
		for _, name := range []string{"type", "category", "level"} {
			put(crumb, name, cut(text(in[name]), 128))
		}
		put(crumb, "message", z.text(in["message"], 2048))
		if t, ok := parseTime(in["timestamp"]); ok {
			crumb["timestamp"] = t.Add(z.meta.drift()).Format(time.RFC3339Nano)
		}
		if data := object(in["data"]); len(data) > 0 {
			crumb["data"] = z.value(data, dataLimits)
		} else if data := text(in["data"]); data != "" {
			crumb["data"] = map[string]any{"value": z.text(data, 2048)}
		}
		if len(crumb) > 0 {
			out = append(out, crumb)
		}
	}
	return out
}

func (z *sanitiser) request(in map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range keys(in, 50) {
		v := in[name]
		if v == nil {
			continue
		}
		switch name {
		case "url", "fragment":
			put(out, name, z.text(v, 2048))
		case "method":
			put(out, name, cut(strings.ToUpper(text(v)), 32))
		case "query_string":
			out[name] = z.query(v)
		case "cookies":
			out[name] = hideAll(v)
		case "headers":
			out[name] = z.headers(v)
		case "data":
			out[name] = z.requestData(v)
		default:
			if secretName(name) {
				v = hide(v)
			}
			out[cut(name, maxTagKey)] = z.value(v, dataLimits)
		}
	}
	return out
}

// hideAll keeps the names of an object only.
func hideAll(v any) any {
	o := object(v)
	if o == nil {
		return hide(text(v) + filtered)
	}
	out := make(map[string]any, len(o))
	for _, k := range keys(o, 50) {
		out[cut(k, maxTagKey)] = filtered
	}
	return out
}

// query is a query string as text, whatever it came as.
func (z *sanitiser) query(v any) any {
	switch v := v.(type) {
	case string:
		v = strings.TrimPrefix(v, "?")
		return strings.TrimPrefix(z.scrub("?"+v, 4096, false), "?")
	case []any:
		out := map[string]any{}
		for _, pair := range v {
			if p, ok := pair.([]any); ok && len(p) == 2 && len(out) < 100 {
				out[text(p[0])] = p[1]
			}
		}
		return z.value(out, dataLimits)
	}
	return z.value(v, dataLimits)
}

// headers makes an object of texts of an object or a list of pairs.
func (z *sanitiser) headers(v any) map[string]any {
	out := map[string]any{}
	add := func(name string, v any) {
		name = http.CanonicalHeaderKey(cut(strings.TrimSpace(name), maxTagKey))
		if values, ok := v.([]any); ok {
			texts := make([]string, 0, len(values))
			for _, v := range values[:min(len(values), 20)] {
				texts = append(texts, text(v))
			}
			v = strings.Join(texts, ", ")
		}
		if name == "" || len(out) >= 100 {
			return
		}
		if secretName(name) {
			out[name] = filtered
			return
		}
		out[name] = z.text(v, 2048)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range keys(v, 100) {
			add(k, v[k])
		}
	case []any:
		for _, pair := range v {
			if p, ok := pair.([]any); ok && len(p) == 2 {
				add(text(p[0]), p[1])
			}
		}
	}
	return out
}

// requestData looks into a body that is JSON or a form within a text.
func (z *sanitiser) requestData(v any) any {
	s, ok := v.(string)
	if !ok {
		return z.value(v, wideLimits)
	}
	trimmed := strings.TrimSpace(s)
	if len(trimmed) > 1 && (trimmed[0] == '{' || trimmed[0] == '[') {
		if inner, err := decode([]byte(trimmed)); err == nil {
			return z.value(inner, wideLimits)
		}
	}
	// The & makes the first field of a form one like the others.
	return strings.TrimPrefix(z.scrub("&"+s, maxValue, false), "&")
}

func (z *sanitiser) user(in map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range keys(in, 50) {
		v := in[name]
		switch name {
		case "id", "email", "username", "name", "segment":
			put(out, name, cut(strings.TrimSpace(text(v)), 250))
		case "ip_address":
			ip := strings.TrimSpace(text(v))
			if ip == "{{auto}}" {
				ip = z.meta.PeerIP
			}
			put(out, name, cut(ip, 64))
		default:
			if secretName(name) {
				v = hide(v)
			}
			if v != nil {
				out[cut(name, maxTagKey)] = z.value(v, dataLimits)
			}
		}
	}
	return out
}

// tags makes an object of texts of an object or a list of pairs.
func (z *sanitiser) tags(v any) map[string]any {
	out := map[string]any{}
	add := func(key string, v any) {
		key = strings.TrimSpace(cut(key, maxTagKey))
		value := strings.Join(strings.Fields(text(v)), " ")
		if key == "" || value == "" || len(out) >= maxTags {
			return
		}
		if secretName(key) {
			value = filtered
		}
		out[key] = z.text(value, maxTagValue)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range keys(v, maxTags) {
			add(k, v[k])
		}
	case []any:
		for _, pair := range v {
			switch p := pair.(type) {
			case []any:
				if len(p) == 2 {
					add(text(p[0]), p[1])
				}
			case map[string]any:
				add(text(p["key"]), p["value"])
			}
		}
	}
	return out
}

func (z *sanitiser) modules(in map[string]any) map[string]any {
	out := map[string]any{}
	for _, k := range keys(in, maxModules) {
		out[cut(k, maxTagKey)] = cut(text(in[k]), 100)
	}
	return out
}

func (z *sanitiser) fingerprint(v any) []any {
	parts, ok := v.([]any)
	if !ok {
		parts = []any{v}
	}
	var out []any
	for _, p := range parts {
		if s := z.text(p, maxName); s != "" && len(out) < maxFingerprint {
			out = append(out, s)
		}
	}
	return out
}

// format puts parameters into a template as the common languages write them: %s, {}, {0}, %(name)s
// and {name}. What it does not know stays as it is.
func format(template string, params any) string {
	switch params := params.(type) {
	case []any:
		var out strings.Builder
		next := 0
		for i := 0; i < len(template); {
			n := placeholder(template[i:])
			if n == 0 || next >= len(params) {
				out.WriteByte(template[i])
				i++
				continue
			}
			out.WriteString(text(params[next]))
			next++
			i += n
			if out.Len() > 2*maxValue {
				break
			}
		}
		return out.String()
	case map[string]any:
		for _, k := range keys(params, 50) {
			if len(template) > 2*maxValue || k == "" {
				break
			}
			value := cut(text(params[k]), 1024)
			template = strings.ReplaceAll(template, "%("+k+")s", value)
			template = strings.ReplaceAll(template, "{"+k+"}", value)
		}
	}
	return template
}

// placeholder is the length of the positional placeholder at the beginning of s, or 0.
func placeholder(s string) int {
	if len(s) >= 2 && s[0] == '%' && strings.IndexByte("sdifgrxvqtuo", s[1]) >= 0 {
		return 2
	}
	if s[0] == '{' {
		if end := strings.IndexByte(s[:min(len(s), 4)], '}'); end == 1 || end > 1 && digit(s[1]) && digit(s[end-1]) {
			return end + 1
		}
	}
	return 0
}
