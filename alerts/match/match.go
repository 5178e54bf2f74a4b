// Package match says whether labels are meant: it is the language in which routes, silences and
// maintenance windows name what they are for, such as service="checkout".
package match

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

// The operators.
const (
	Equal       = "="
	NotEqual    = "!="
	Like        = "=~"
	NotLike     = "!~"
	MaxMatchers = 20 // in one Set
)

const (
	maxLabelBytes      = 128
	maxValueBytes      = 1000
	maxExpressionBytes = 200
	// maxInstructions bounds what an expression compiles to: 200 bytes are enough for hundreds of
	// thousands ("(a{1000}){…"), and each byte of a value may have to pass them all.
	maxInstructions = 2000
)

// Matcher is a condition on one label. Regular expressions (RE2) are for the whole value. A label
// that is not there is empty.
//
// In JSON it is an object, or its text. Matchers that come from New, Parse or JSON are compiled; one
// that is written as a literal works too, but compiles its expression each time. A Matcher may be
// copied and used concurrently.
type Matcher struct {
	Label string `json:"label"`
	Op    string `json:"op"`
	Value string `json:"value"`

	expression *regexp.Regexp
}

// New returns a compiled Matcher. The messages of its errors are fit for a user.
func New(label, op, value string) (Matcher, error) {
	m := Matcher{Label: label, Op: op, Value: value}
	if err := validLabel(label); err != nil {
		return Matcher{}, err
	}
	switch op {
	case Equal, NotEqual:
		if len(value) > maxValueBytes {
			return Matcher{}, fmt.Errorf("value: has more than %d bytes", maxValueBytes)
		}
		return m, nil
	case Like, NotLike:
		expression, err := compile(value)
		if err != nil {
			return Matcher{}, fmt.Errorf("value: %w", err)
		}
		m.expression = expression
		return m, nil
	default:
		return Matcher{}, fmt.Errorf("op: is %q, %q, %q or %q, not %.10q", Equal, NotEqual, Like, NotLike, op)
	}
}

func validLabel(label string) error {
	switch {
	case label == "":
		return errors.New("label: is missing")
	case len(label) > maxLabelBytes:
		return fmt.Errorf("label: has more than %d bytes", maxLabelBytes)
	case labelEnd(label) != len(label):
		return fmt.Errorf("label: %q has characters other than letters, digits and _ . : / -", label)
	default:
		return nil
	}
}

// labelEnd returns where the label ends with which the text begins.
func labelEnd(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.:/-", r)
	})
	if end < 0 {
		return len(text)
	}
	return end
}

func compile(value string) (*regexp.Regexp, error) {
	if len(value) > maxExpressionBytes {
		return nil, fmt.Errorf("a regular expression has at most %d bytes", maxExpressionBytes)
	}
	// The value is parsed alone first: "a)|(b" is no expression, though it would be one in brackets.
	parsed, err := syntax.Parse(value, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	if len(program.Inst) > maxInstructions {
		return nil, errors.New("the regular expression repeats too much")
	}
	expression, err := regexp.Compile(`\A(?s:` + value + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	return expression, nil
}

// Validate reports what is wrong with it; the message names the field and is fit for a user.
func (m Matcher) Validate() error {
	_, err := New(m.Label, m.Op, m.Value)
	return err
}

// Match reports whether the labels fulfil the condition. A Matcher that is not valid matches
// nothing.
func (m Matcher) Match(labels map[string]string) bool {
	value := labels[m.Label]
	switch m.Op {
	case Equal:
		return value == m.Value
	case NotEqual:
		return value != m.Value
	case Like, NotLike:
		expression := m.expression
		if expression == nil {
			var err error
			if expression, err = compile(m.Value); err != nil {
				return false
			}
		}
		return expression.MatchString(value) == (m.Op == Like)
	default:
		return false
	}
}

// Equal reports whether both are the same condition.
func (m Matcher) Equal(other Matcher) bool {
	return m.Label == other.Label && m.Op == other.Op && m.Value == other.Value
}

// String returns the text that Parse reads.
func (m Matcher) String() string { return m.Label + m.Op + strconv.Quote(m.Value) }

// UnmarshalJSON reads the object or the text, and compiles it.
func (m *Matcher) UnmarshalJSON(data []byte) error {
	var (
		read Matcher
		text string
		err  error
	)
	if json.Unmarshal(data, &text) == nil {
		read, err = Parse(text)
	} else {
		type plain Matcher // without this method
		var object plain
		if err := json.Unmarshal(data, &object); err != nil {
			return fmt.Errorf("read matcher: %w", err)
		}
		read, err = New(object.Label, object.Op, object.Value)
	}
	if err != nil {
		return fmt.Errorf("read matcher: %w", err)
	}
	*m = read
	return nil
}

// Parse reads one condition: label, operator and value, which may be quoted as in Go and has to be
// where it has spaces, commas, quotes or braces. The messages of its errors are fit for a user.
func Parse(text string) (Matcher, error) {
	m, rest, err := parse(strings.TrimSpace(text))
	if err != nil {
		return Matcher{}, err
	}
	if rest != "" {
		return Matcher{}, fmt.Errorf("there is more behind %s: %.50q", m, rest)
	}
	return m, nil
}

// parse reads the condition with which the text begins and returns what follows.
func parse(text string) (Matcher, string, error) {
	end := labelEnd(text)
	label, rest := text[:end], strings.TrimLeft(text[end:], " \t")
	op := ""
	for _, known := range []string{Like, NotLike, NotEqual, Equal} {
		if strings.HasPrefix(rest, known) {
			op = known
			break
		}
	}
	if label == "" || op == "" {
		return Matcher{}, "", fmt.Errorf(`%.50q is not a condition such as service="checkout"`, text)
	}
	value, rest, err := parseValue(strings.TrimLeft(rest[len(op):], " \t"))
	if err != nil {
		return Matcher{}, "", fmt.Errorf("value of %s: %w", label, err)
	}
	m, err := New(label, op, value)
	return m, strings.TrimLeft(rest, " \t\n"), err
}

func parseValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) && !strings.HasPrefix(text, "`") {
		end := strings.IndexAny(text, " \t\n,{}\"`")
		if end < 0 {
			end = len(text)
		}
		if end == 0 {
			return "", "", errors.New(`is missing; an empty one is ""`)
		}
		if text[0] == '=' || text[0] == '~' {
			return "", "", errors.New("begins with what looks like a part of the operator; quote it if it is none")
		}
		return text[:end], text[end:], nil
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", errors.New("its quotes are not closed")
	}
	value, err = strconv.Unquote(quoted)
	if err != nil {
		return "", "", errors.New("its quotes cannot be read")
	}
	return value, text[len(quoted):], nil
}

// Set is conditions that all have to be fulfilled; an empty one always is.
type Set []Matcher

// ParseSet reads conditions with commas between them, in braces or not.
func ParseSet(text string) (Set, error) {
	text = strings.TrimSpace(text)
	if inner, opened := strings.CutPrefix(text, "{"); opened {
		inner, closed := strings.CutSuffix(inner, "}")
		if !closed {
			return nil, errors.New("the brace is not closed")
		}
		text = strings.TrimSpace(inner)
	}
	var set Set
	for text != "" {
		if len(set) == MaxMatchers {
			return nil, fmt.Errorf("more than %d conditions", MaxMatchers)
		}
		m, rest, err := parse(text)
		if err != nil {
			return nil, err
		}
		set = append(set, m)
		if rest == "" {
			break
		}
		next, comma := strings.CutPrefix(rest, ",")
		if !comma {
			return nil, fmt.Errorf("a comma is missing before %.50q", rest)
		}
		text = strings.TrimSpace(next)
	}
	return set, nil
}

// Match reports whether the labels fulfil all conditions.
func (s Set) Match(labels map[string]string) bool {
	for _, m := range s {
		if !m.Match(labels) {
			return false
		}
	}
	return true
}

// Validate reports the first thing that is wrong; the message names the field.
func (s Set) Validate() error {
	if len(s) > MaxMatchers {
		return fmt.Errorf("matchers: more than %d", MaxMatchers)
	}
	for i, m := range s {
		if err := m.Validate(); err != nil {
			return fmt.Errorf("matchers[%d].%w", i, err)
		}
	}
	return nil
}

// String returns the text that ParseSet reads.
func (s Set) String() string {
	parts := make([]string, len(s))
	for i, m := range s {
		parts[i] = m.String()
	}
	return "{" + strings.Join(parts, ",") + "}"
}
