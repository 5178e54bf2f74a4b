package jsonlog

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/midwatch/midwatch/services/ingest/jsonscan"
	"github.com/midwatch/midwatch/services/ingest/record"
)

// role is what a field means to a record.
type role uint8

const (
	roleNone role = iota
	roleTime
	roleSeconds // Google's {seconds, nanos}
	roleNanos
	roleLevel
	roleMessage
	roleFault // the message of an error, where the record has none itself
	roleService
	roleHost
	roleEnvironment
	roleTrace
	roleSpan
	roles
)

type kind uint8

const (
	kindString kind = iota
	kindNumber
	kindBool
	kindArray // its JSON
)

// field is a leaf of a record: its key has the keys of the objects around it, with dots.
type field struct {
	key   string
	value string
	kind  kind
	taken bool // it is not an attribute: it says something that has its own place
}

// text is the value as an attribute has it.
func (f *field) text() string {
	if f.kind == kindArray {
		return validUTF8(f.value)
	}
	return f.value
}

// best is the most important field of a role so far.
type best struct {
	index int // in list, -1: none
	rank  uint8
}

// outerRank is added to the ranks of a record that turned out to be the envelope of another one.
const outerRank = 100

// fields are the leaves of the record at hand.
type fields struct {
	list    []field
	dropped int
	best    [roles]best

	// What the best fields say.
	at     uint64
	number uint32 // severity
	ids    [2][16]byte
}

func (f *fields) reset() {
	f.list = f.list[:0]
	f.dropped = 0
	for i := range f.best {
		f.best[i] = best{-1, 255}
	}
}

// object reads the members of the object at i, which are under prefix.
func (f *fields) object(s string, i int, prefix string, depth int) (end int, err error) {
	if depth <= 0 {
		return i, jsonscan.TooDeep(i)
	}
	i = jsonscan.Space(s, i+1)
	if i < len(s) && s[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(s) || s[i] != '"' {
			return i, jsonscan.Fail(s, i, "a quoted key")
		}
		key, end, err := jsonscan.String(s, i)
		if err != nil {
			return end, err
		}
		if i, err = jsonscan.Colon(s, end); err != nil {
			return i, err
		}
		if i >= len(s) {
			return i, jsonscan.Fail(s, i, "a value")
		}
		if prefix != "" {
			key = join(prefix, key)
		}
		switch s[i] {
		case '"':
			var value string
			if value, end, err = jsonscan.String(s, i); err == nil {
				f.add(field{key: key, value: value})
			}
		case '{':
			end, err = f.object(s, i, key, depth-1)
		case '[':
			if end, err = jsonscan.Skip(s, i, depth-1); err == nil {
				f.add(field{key: key, value: s[i:end], kind: kindArray})
			}
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			if end, err = jsonscan.Number(s, i); err == nil {
				f.add(field{key: key, value: s[i:end], kind: kindNumber})
			}
		case 't', 'f':
			if end, err = jsonscan.Literal(s, i); err == nil {
				f.add(field{key: key, value: s[i:end], kind: kindBool})
			}
		default:
			end, err = jsonscan.Literal(s, i) // a null, which says nothing
		}
		if err != nil {
			return end, err
		}
		var more bool
		if i, more, err = jsonscan.Next(s, end, '}'); err != nil || !more {
			return i, err
		}
	}
}

func join(prefix, key string) string {
	if len(prefix) > record.MaxKeyBytes {
		return prefix // it is cut there anyway; and so nested long keys cannot multiply
	}
	return prefix + "." + key
}

// add keeps a field and, if it has a role, sees whether it is the best one for it.
func (f *fields) add(one field) {
	r, rank := roleOf(one.key)
	if r != roleNone {
		b := &f.best[r]
		if rank <= b.rank && f.fits(r, &one) {
			if b.index >= 0 && f.list[b.index].key == one.key {
				f.list[b.index].taken = true // the last value of a key is the one that counts
			}
			b.index, b.rank = len(f.list), rank
			f.list = append(f.list, one)
			return
		}
	}
	if len(f.list) >= maxFields {
		f.dropped++
		return
	}
	f.list = append(f.list, one)
}

// fits reports whether a field can have a role, and keeps what it says where that took an effort.
func (f *fields) fits(r role, one *field) bool {
	switch r {
	case roleTime:
		at, ok := parseTime(one.value, one.kind)
		if ok {
			f.at = at
		}
		return ok
	case roleSeconds, roleNanos:
		_, err := strconv.ParseUint(one.value, 10, 64)
		return err == nil && one.kind != kindArray
	case roleLevel:
		number, ok := record.Severity(one.value)
		if !ok && (one.kind != kindString || one.value == "" || ambiguousLevel(one.key)) {
			return false
		}
		if one.kind == kindNumber && strings.EqualFold(one.key, "status") {
			return false // a status of HTTP or of a process
		}
		f.number = number
		return one.kind == kindString || one.kind == kindNumber
	case roleMessage:
		return one.kind == kindString || one.kind != kindArray && !strings.EqualFold(one.key, "event")
	case roleTrace:
		id, ok := parseID(one.value, 16)
		if ok {
			f.ids[0] = id
		}
		return ok
	case roleSpan:
		id, ok := parseID(one.value, 8)
		if ok {
			f.ids[1] = id
		}
		return ok
	default:
		return one.kind == kindString && one.value != ""
	}
}

// ambiguousLevel reports whether a key means a level only where its value is one.
func ambiguousLevel(key string) bool {
	return strings.EqualFold(key, "status") || strings.EqualFold(key, "priority")
}

// unwrap opens a message that is itself a record, as container runtimes have it: what it says
// goes before what its envelope says.
func (f *fields) unwrap() {
	b := f.best[roleMessage]
	if b.index < 0 || !strings.EqualFold(f.list[b.index].key, "log") {
		return
	}
	line := strings.TrimRight(f.list[b.index].value, "\r\n")
	f.list[b.index].value = line
	inner := strings.TrimSpace(line)
	if !strings.HasPrefix(inner, "{") {
		return
	}
	// Only what is JSON to its end is opened.
	if end, err := jsonscan.Skip(inner, 0, record.MaxDepth); err != nil || end != len(inner) {
		return
	}
	for i := range f.best {
		if f.best[i].index >= 0 {
			f.best[i].rank += outerRank
		}
	}
	f.list[b.index].taken = true
	f.best[roleMessage] = best{-1, 255}
	if _, err := f.object(inner, 0, "", record.MaxDepth); err != nil {
		return // it was read to its end above
	}
	if f.best[roleMessage].index < 0 && f.best[roleFault].index < 0 {
		f.best[roleMessage] = b
	}
}

// take returns the text of a role's best field.
func (f *fields) take(r role) string {
	i := f.best[r].index
	if i < 0 {
		return ""
	}
	if !shared(f.list[i].key) {
		f.list[i].taken = true
	}
	return f.list[i].value
}

// shared reports whether a field goes on being an attribute though it has a role: it says more
// than the role.
func shared(key string) bool {
	return strings.EqualFold(key, "logger") || strings.HasPrefix(key, "kubernetes.") || ambiguousLevel(key)
}

// time returns when the record says it happened.
func (f *fields) time() (ns uint64, ok bool) {
	if i := f.best[roleTime].index; i >= 0 {
		f.list[i].taken = true
		return f.at, true
	}
	i := f.best[roleSeconds].index
	if i < 0 {
		return 0, false
	}
	seconds, err := strconv.ParseUint(f.list[i].value, 10, 64)
	if err != nil || seconds < minSeconds || seconds > maxSeconds {
		return 0, false
	}
	f.list[i].taken = true
	ns = seconds * 1e9
	if i := f.best[roleNanos].index; i >= 0 {
		if n, err := strconv.ParseUint(f.list[i].value, 10, 64); err == nil && n < 1e9 {
			f.list[i].taken = true
			ns += n
		}
	}
	return ns, true
}

// level returns the severity and what the record calls it.
func (f *fields) level() (number uint32, text string) {
	if f.best[roleLevel].index < 0 {
		return 0, ""
	}
	return f.number, record.Clip(f.take(roleLevel), 64)
}

// id returns the bytes of an id, or nil.
func (f *fields) id(r role, size int) []byte {
	i := f.best[r].index
	if i < 0 {
		return nil
	}
	f.list[i].taken = true
	return f.ids[r-roleTrace][:size]
}

// message returns what the record says.
func (f *fields) message() (string, bool) {
	if i := f.best[roleMessage].index; i >= 0 {
		f.list[i].taken = true
		return f.list[i].value, true
	}
	if i := f.best[roleFault].index; i >= 0 {
		return f.list[i].value, true // and it stays with the rest of the error
	}
	return "", false
}

// maxRoleKey is longer than every key that has a role.
const maxRoleKey = 32

// roleOf returns the role of a key in any case, and its rank: of several fields with the same
// role the one with the lowest rank has it.
func roleOf(key string) (role, uint8) {
	if len(key) < 2 || len(key) > maxRoleKey {
		return roleNone, 0
	}
	var space [maxRoleKey]byte
	for i := range len(key) {
		c := key[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		space[i] = c
	}
	switch string(space[:len(key)]) {
	case "timestamp":
		return roleTime, 0
	case "@timestamp":
		return roleTime, 1
	case "time":
		return roleTime, 2
	case "ts":
		return roleTime, 3
	case "date":
		return roleTime, 4
	case "datetime":
		return roleTime, 5
	case "dt":
		return roleTime, 6
	case "@t":
		return roleTime, 7
	case "_time":
		return roleTime, 8
	case "eventtime":
		return roleTime, 9
	case "published_date":
		return roleTime, 10
	case "timemillis":
		return roleTime, 11
	case "isodate":
		return roleTime, 12
	case "__realtime_timestamp":
		return roleTime, 13
	case "asctime":
		return roleTime, 14
	case "time_iso8601":
		return roleTime, 15
	case "time_local":
		return roleTime, 16
	case "timestamp.seconds":
		return roleSeconds, 0
	case "timestampseconds":
		return roleSeconds, 1
	case "timestamp.nanos":
		return roleNanos, 0
	case "timestampnanos":
		return roleNanos, 1

	case "level":
		return roleLevel, 0
	case "severity":
		return roleLevel, 1
	case "log.level":
		return roleLevel, 2
	case "levelname":
		return roleLevel, 3
	case "severity_text", "severitytext":
		return roleLevel, 4
	case "lvl":
		return roleLevel, 5
	case "@l":
		return roleLevel, 6
	case "loglevel", "log_level":
		return roleLevel, 7
	case "status":
		return roleLevel, 8
	case "priority":
		return roleLevel, 9

	case "message":
		return roleMessage, 0
	case "msg":
		return roleMessage, 1
	case "_msg":
		return roleMessage, 2
	case "body":
		return roleMessage, 3
	case "log":
		return roleMessage, 4
	case "event":
		return roleMessage, 5
	case "@m":
		return roleMessage, 6
	case "@mt":
		return roleMessage, 7
	case "short_message":
		return roleMessage, 8
	case "textpayload":
		return roleMessage, 9

	case "err.message":
		return roleFault, 0
	case "error.message":
		return roleFault, 1
	case "exception.message":
		return roleFault, 2
	case "err":
		return roleFault, 3
	case "error":
		return roleFault, 4
	case "exception":
		return roleFault, 5

	case "service":
		return roleService, 0
	case "service.name", "service_name":
		return roleService, 1
	case "app":
		return roleService, 2
	case "application":
		return roleService, 3
	case "kubernetes.container_name":
		return roleService, 4
	case "otelservicename":
		return roleService, 5
	case "logger":
		return roleService, 6

	case "host":
		return roleHost, 0
	case "hostname":
		return roleHost, 1
	case "host.name":
		return roleHost, 2
	case "_hostname":
		return roleHost, 3
	case "kubernetes.host":
		return roleHost, 4

	case "env":
		return roleEnvironment, 0
	case "environment":
		return roleEnvironment, 1
	case "deployment.environment":
		return roleEnvironment, 2
	case "deployment.environment.name":
		return roleEnvironment, 3

	case "trace_id":
		return roleTrace, 0
	case "traceid":
		return roleTrace, 1
	case "trace.id":
		return roleTrace, 2
	case "oteltraceid":
		return roleTrace, 3
	case "dd.trace_id":
		return roleTrace, 4
	case "logging.googleapis.com/trace":
		return roleTrace, 5

	case "span_id":
		return roleSpan, 0
	case "spanid":
		return roleSpan, 1
	case "span.id":
		return roleSpan, 2
	case "otelspanid":
		return roleSpan, 3
	case "dd.span_id":
		return roleSpan, 4
	case "logging.googleapis.com/spanid":
		return roleSpan, 5
	}
	return roleNone, 0
}

// validUTF8 returns s as it is, or with U+FFFD for what is not UTF-8.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
