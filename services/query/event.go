package query

import (
	"slices"
	"strconv"
	"strings"
)

// What of one event is laid out for reading; the whole of it stays in raw.
const (
	maxExceptions   = 50
	maxFrames       = 500 // of one stack
	maxContextLines = 50  // before, and as many after, the line of a frame
	maxBreadcrumbs  = 500
)

// parseEvent reads the event that intake kept: Sentry's JSON, in any of the shapes that SDKs give it.
// It fills what only the payload knows and what the payload may know better than the columns beside it (tags, message).
// Slices and raw are never nil.
func parseEvent(payload []byte) Event {
	m := decodeObject(payload)
	e := Event{
		Message:     optional(message(m)),
		Sdk:         optional(sdk(object(m["sdk"]))),
		User:        optionalObject(m["user"]),
		Request:     optionalObject(m["request"]),
		Contexts:    optionalObject(m["contexts"]),
		Extra:       optionalObject(m["extra"]),
		Tags:        tags(m["tags"]),
		Exceptions:  exceptions(m),
		Breadcrumbs: breadcrumbs(m["breadcrumbs"]),
		Raw:         m,
	}
	return e
}

// message returns the words of an event that was captured as a message: formatted if the sender did so, else the template.
func message(m map[string]any) string {
	for _, key := range []string{"logentry", "sentry.interfaces.Message", "message"} {
		switch v := m[key].(type) {
		case map[string]any:
			if s := firstText(v, "formatted", "message"); s != "" {
				return s
			}
		case string:
			if v != "" {
				return v
			}
		}
	}
	return ""
}

func sdk(m map[string]any) string {
	return strings.TrimSpace(text(m["name"]) + " " + text(m["version"]))
}

// tags reads {"key": value}, [["key", value]] and [{"key": …, "value": …}].
func tags(v any) map[string]string {
	out := map[string]string{}
	add := func(key, value string) {
		if key != "" && value != "" {
			out[key] = value
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			add(key, text(value))
		}
	case []any:
		for _, one := range v {
			switch one := one.(type) {
			case []any:
				if len(one) == 2 {
					add(text(one[0]), text(one[1]))
				}
			case map[string]any:
				add(text(one["key"]), text(one["value"]))
			}
		}
	}
	return out
}

// exceptions returns what was raised, outermost first; the sender's order is the opposite.
// A stack that belongs to no exception, as of a captured message or a crashed thread, is shown too.
func exceptions(m map[string]any) []Exception {
	out := []Exception{}
	raised := m["exception"]
	if raised == nil {
		raised = m["sentry.interfaces.Exception"]
	}
	for _, v := range slices.Backward(list(raised)) {
		one := object(v)
		if one == nil {
			continue
		}
		if len(out) == maxExceptions {
			break
		}
		mechanism := object(one["mechanism"])
		e := Exception{
			Type:      text(one["type"]),
			Value:     text(one["value"]),
			Module:    optional(text(one["module"])),
			Mechanism: optional(text(mechanism["type"])),
			Frames:    stack(one),
		}
		if handled, ok := truth(mechanism["handled"]); ok {
			e.Handled = &handled
		}
		out = append(out, e)
	}
	switch loose := looseStack(m); {
	case len(loose) == 0:
	case len(out) == 0:
		out = append(out, Exception{Value: message(m), Frames: loose})
	case !slices.ContainsFunc(out, func(e Exception) bool { return len(e.Frames) > 0 }):
		out[0].Frames = loose
	}
	return out
}

// looseStack returns the frames of the event's own stack, or of the thread that crashed, or else of the one that reported.
func looseStack(m map[string]any) []Frame {
	if frames := stack(m); len(frames) > 0 {
		return frames
	}
	threads := list(m["threads"])
	for _, mark := range []string{"crashed", "current", ""} {
		for _, v := range threads {
			thread := object(v)
			if marked, _ := truth(thread[mark]); mark != "" && !marked {
				continue
			}
			if frames := stack(thread); len(frames) > 0 {
				return frames
			}
		}
	}
	return nil
}

// stack returns the frames of whatever carries a stack trace, newest call first; the sender's order is the opposite.
func stack(owner map[string]any) []Frame {
	out := []Frame{}
	var trace map[string]any
	for _, key := range []string{"stacktrace", "raw_stacktrace", "sentry.interfaces.Stacktrace"} {
		if trace = object(owner[key]); trace != nil {
			break
		}
	}
	told := false // whether any frame says to whom it belongs
	frames, _ := trace["frames"].([]any)
	for _, v := range slices.Backward(frames) {
		f := object(v)
		if f == nil {
			continue
		}
		if len(out) == maxFrames {
			break
		}
		inApp, ok := truth(f["in_app"])
		told = told || ok
		frame := Frame{
			Function:    optional(firstText(f, "function", "raw_function")),
			Module:      optional(firstText(f, "module", "package")),
			File:        optional(firstText(f, "filename", "abs_path")),
			InApp:       inApp,
			ContextLine: optional(text(f["context_line"])),
			PreContext:  lines(f["pre_context"], true),
			PostContext: lines(f["post_context"], false),
			Vars:        variables(f["vars"]),
		}
		if n, ok := integer(f["lineno"]); ok && n > 0 {
			frame.Line = &n
		}
		if n, ok := integer(f["colno"]); ok && n > 0 {
			frame.Column = &n
		}
		out = append(out, frame)
	}
	if !told {
		// A sender that does not tell its own code from libraries gets all of it shown as its own.
		for i := range out {
			out[i].InApp = true
		}
	}
	return out
}

// lines returns the lines of source around a frame; those nearest to it are kept.
func lines(v any, before bool) *[]string {
	l, _ := v.([]any)
	if len(l) == 0 {
		return nil
	}
	if n := len(l) - maxContextLines; n > 0 {
		if before {
			l = l[n:]
		} else {
			l = l[:maxContextLines]
		}
	}
	out := make([]string, len(l))
	for i, one := range l {
		out[i] = text(one)
	}
	return &out
}

// variables returns a frame's local variables; some senders number them instead of naming them.
func variables(v any) *map[string]any {
	if l, ok := v.([]any); ok && len(l) > 0 {
		m := make(map[string]any, len(l))
		for i, one := range l {
			m[strconv.Itoa(i)] = one
		}
		return &m
	}
	return optionalObject(v)
}

// breadcrumbs returns what led to the event, oldest first as it was sent; of too many the newest are kept.
func breadcrumbs(v any) []Breadcrumb {
	out := []Breadcrumb{}
	l := list(v)
	if n := len(l) - maxBreadcrumbs; n > 0 {
		l = l[n:]
	}
	for _, one := range l {
		m := object(one)
		if m == nil {
			continue
		}
		b := Breadcrumb{
			Type:     optional(text(m["type"])),
			Category: optional(text(m["category"])),
			Level:    optional(text(m["level"])),
			Message:  optional(text(m["message"])),
			Data:     optionalObject(m["data"]),
		}
		if t, ok := moment(m["timestamp"]); ok {
			b.Time = &t
		}
		out = append(out, b)
	}
	return out
}

// optional returns nil for a value that says nothing, so that it is left out of the answer.
func optional[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}

func optionalObject(v any) *map[string]any {
	m := object(v)
	if m == nil {
		return nil
	}
	return &m
}
