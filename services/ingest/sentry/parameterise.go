package sentry

import (
	"regexp"
	"strings"
)

// parameterised is how much of a text is looked at.
const parameterised = 2048

// kind is a sort of changing part within a message.
type kind struct {
	name    string // what stands for it; empty: the text is kept as it is
	begins  byteClass
	needs   traits // at least one of them must be in the text up to the next space
	pattern *regexp.Regexp
	// holds, where set, has the last word on a match.
	holds func(string) bool
}

// byteClass is what a part can begin with.
type byteClass uint8

const (
	beginsDigit byteClass = 1 << iota
	beginsHexLetter
	beginsLetter // other than of a hexadecimal number
	beginsSign
	beginsBracket
	beginsEquals
	beginsWord = beginsDigit | beginsHexLetter | beginsLetter
	beginsHex  = beginsDigit | beginsHexLetter
)

// traits are what a stretch of text without spaces has in it.
type traits uint8

const (
	hasDigits traits = 1 << iota
	hasAt
	hasScheme
	hasEquals
	hasCalendar // begins with the name of a day or a month
)

const months = `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)`

func anchored(alternatives ...string) *regexp.Regexp {
	return regexp.MustCompile(`^(?:` + strings.Join(alternatives, "|") + `)`)
}

// kinds are tried in this order at each place where a part may begin: the first one that fits wins.
var kinds = []kind{
	{"<email>", beginsWord, hasAt, anchored(`[a-zA-Z0-9._%+'-]+@[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+`), nil},
	{"<url>", beginsWord, hasScheme, anchored(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>]*[^\s"'<>.,;:!?)\]}]`), nil},
	{"<ip>", beginsDigit, hasDigits, anchored(`\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?\b`), nil},
	{"<ip>", beginsBracket, hasDigits, anchored(`\[[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?:%\w+)?\](?::\d{1,5})?`), nil},
	{"<ip>", beginsHex, hasDigits, anchored(
		`(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b`,
		`[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,5}::(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,5}\b)?`), hasDigit},
	{"<mac>", beginsHex, hasDigits, anchored(`[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}\b`), nil},
	{"<traceparent>", beginsDigit, hasDigits, anchored(`00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]\b`), nil},
	{"<uuid>", beginsHex, hasDigits, anchored(
		`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b`,
		`[0-7][0-9A-HJKMNP-TV-Z]{25}\b`), nil},
	{"<sha>", beginsHex, hasDigits, anchored(`(?:[0-9a-fA-F]{128}|[0-9a-fA-F]{96}|[0-9a-fA-F]{64}|[0-9a-fA-F]{56}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32})\b`), nil},
	{"<date>", beginsDigit, hasDigits, anchored(
		`\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))*)?`,
		`\d{8}T\d{6}Z?\b`,
		`\d{1,2}[ /-]`+months+`[a-z]*[ /-]\d{2,4}(?:[: ]\d{2}:\d{2}:\d{2})?(?: (?:UTC|GMT|[+-]\d{4}))?`,
		`\d{1,2}[/.]\d{1,2}[/.]\d{4}(?: \d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?)?\b`,
		`\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?Z?(?: ?[AaPp][Mm])?\b`), nil},
	{"<date>", beginsHexLetter | beginsLetter, hasCalendar, anchored(
		`(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?\d{1,2}[ /-]`+months+`[a-z]*[ /-]\d{2,4}(?:[: ]\d{2}:\d{2}:\d{2})?(?: (?:UTC|GMT|[+-]\d{4}))?`,
		`(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?`+months+`[a-z]* \d{1,2}(?:,? \d{4})?(?: \d{2}:\d{2}:\d{2}(?: [A-Z]{3,4})?(?: \d{4})?)?\b`), nil},
	// The status of an HTTP response is what the message is about, not one of its changing parts.
	{"", beginsDigit, hasDigits, anchored(`[1-5]\d\d (?:Client Error|Server Error|Bad|Unauthorized|Forbidden|Not|Method|Conflict|Gone|Payload|Unprocessable|Too|Internal|Service|Gateway|Moved|Found)\b`), nil},
	{"<duration>", beginsDigit, hasDigits, anchored(
		`(?:\d+(?:\.\d+)?(?:ns|us|µs|μs|ms|s|m|h|d|w))+\b`,
		`\d+(?:\.\d+)? ?(?:nanoseconds?|microseconds?|milliseconds?|millis|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|ms)\b`), nil},
	{"<hex>", beginsDigit, hasDigits, anchored(`0[xX][0-9a-fA-F]+\b`), nil},
	{"<float>", beginsDigit | beginsSign, hasDigits, anchored(`[-+]?\d+\.\d+(?:[eE][-+]?\d+)?\b`, `[-+]?\d+[eE][-+]\d+\b`), nil},
	{"<int>", beginsDigit | beginsSign, hasDigits, anchored(`[-+]?\d+\b`), nil},
	{"<hex>", beginsHex, hasDigits, anchored(`[0-9a-fA-F]{7,128}\b`), hasDigit},
	{"=<str>", beginsEquals, hasEquals, anchored(`= ?(?:"[^"]*"|'[^']*')`), nil},
	{"=<bool>", beginsEquals, hasEquals, anchored(`= ?(?:[Tt]rue|[Ff]alse)\b`), nil},
	// What Kubernetes adds to the name of a deployment to name a pod.
	{"-<pod>", beginsSign, hasDigits, anchored(`-[bcdfghjklmnpqrstvwxz2456789]{7,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\b`), hasDigit},
	// An id such as 8fj3kd93ls02.
	{"<id>", beginsWord, hasDigits, anchored(`[A-Za-z0-9_]{12,128}\b`), identifier},
}

// statusPattern is what comes before a number that says what happened and therefore stays.
var statusPattern = regexp.MustCompile(`(?i)\b(?:status|code|errno|signal|exit|http(?:/\d(?:\.\d)?)?|sqlstate|ora|error(?: code)?)(?:\s?[=#(\[-]\s?|\s)["(]?$|(?i)\b(?:status|code|errno|signal)\s?:\s?$`)

// parameterise replaces what changes from one occurrence of a message to the next by what it is,
// such as <uuid> or <int>. Only the first 2 KiB are looked at; the rest is left away. White space
// is folded.
func parameterise(s string) string {
	s = strings.Join(strings.Fields(s[:min(len(s), parameterised)]), " ")
	s = strings.ToValidUTF8(s, "")
	if !strings.ContainsAny(s, "0123456789@=:") {
		return s
	}
	var out strings.Builder
	stretch := 0 // where the present stretch without spaces ends
	var has traits
	for i := 0; i < len(s); {
		if i >= stretch {
			stretch = len(s)
			if n := strings.IndexByte(s[i+1:], ' '); n >= 0 {
				stretch = i + 1 + n
			}
			has = traitsOf(strings.TrimLeft(s[i:stretch], ` "'([{,`))
			if has == 0 {
				out.WriteString(s[i:stretch])
				i = stretch
				continue
			}
		}
		name, n := part(s, i, has)
		out.WriteString(name)
		i += n
	}
	return out.String()
}

// part returns what is to stand for the n bytes at i.
func part(s string, i int, has traits) (as string, n int) {
	class := classOf(s[i])
	if class == 0 || class == beginsSign && i > 0 && wordChar(s[i-1]) && s[i] == '+' {
		return s[i : i+1], 1
	}
	signed := class == beginsSign && (i == 0 || !wordChar(s[i-1]))
	for _, k := range kinds {
		if k.begins&class == 0 || k.needs&has == 0 {
			continue
		}
		if class == beginsSign && !signed && k.name != "-<pod>" {
			continue // a dash between words is no sign
		}
		m := k.pattern.FindStringIndex(s[i:])
		if m == nil || k.holds != nil && !k.holds(s[i:i+m[1]]) {
			continue
		}
		match := s[i : i+m[1]]
		if k.name == "" || k.name == "<int>" && len(match) <= 6 && statusPattern.MatchString(s[max(0, i-24):i]) {
			return match, len(match)
		}
		return k.name, len(match)
	}
	if class&beginsWord == 0 {
		return s[i : i+1], 1
	}
	end := i + 1
	for end < len(s) && wordChar(s[end]) {
		end++
	}
	return withoutTail(s[i:end]), end - i
}

func classOf(c byte) byteClass {
	switch {
	case digit(c):
		return beginsDigit
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return beginsHexLetter
	case 'g' <= c|0x20 && c|0x20 <= 'z', c == '_':
		return beginsLetter
	case c == '-', c == '+':
		return beginsSign
	case c == '[':
		return beginsBracket
	case c == '=':
		return beginsEquals
	}
	return 0
}

func wordChar(c byte) bool {
	return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_'
}

func traitsOf(stretch string) traits {
	var has traits
	for i := range len(stretch) {
		switch c := stretch[i]; {
		case digit(c):
			has |= hasDigits
		case c == '@':
			has |= hasAt
		case c == '=':
			has |= hasEquals
		case c == ':' && strings.HasPrefix(stretch[i:], "://"):
			has |= hasScheme
		}
	}
	if len(stretch) >= 3 {
		switch stretch[:3] {
		case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun",
			"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
			has |= hasCalendar
		}
	}
	return has
}

// withoutTail replaces the number at the end of a name such as orders_of_20260102.
func withoutTail(word string) string {
	name := strings.TrimRight(word, "0123456789")
	if len(name) < len(word) && strings.HasSuffix(name, "_") {
		return name + "<int>"
	}
	return word
}

func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

// identifier reports whether a word looks made up by a machine: a long part with digits in
// several places that are at least a fifth of it. Names that people give are not like that.
func identifier(s string) bool {
	for part := range strings.SplitSeq(s, "_") {
		if len(part) < 12 {
			continue
		}
		digits, groups := 0, 0
		for i := range len(part) {
			if digit(part[i]) {
				digits++
				if i == 0 || !digit(part[i-1]) {
					groups++
				}
			}
		}
		if groups >= 2 && digits*5 >= len(part) {
			return true
		}
	}
	return false
}
