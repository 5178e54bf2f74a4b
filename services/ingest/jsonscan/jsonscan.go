// Package jsonscan reads JSON text in place: it finds the ends of values and decodes strings
// without building a tree. It takes exactly the texts that encoding/json takes and decodes
// strings as that does.
package jsonscan

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// SyntaxError says where and why a text is not JSON.
type SyntaxError struct {
	// Offset of the byte that does not fit.
	Offset int
	Reason string
	// TooDeep says that the text may be JSON, but nested deeper than was asked for.
	TooDeep bool
}

func (e *SyntaxError) Error() string { return e.Reason }

func wrong(i int, reason string) error { return &SyntaxError{Offset: i, Reason: reason} }

// fail makes an error about the byte at i.
func fail(s string, i int, expected string) error {
	if i >= len(s) {
		return wrong(len(s), "the text ends where "+expected+" is expected")
	}
	r, _ := utf8.DecodeRuneInString(s[i:])
	return wrong(i, strconv.QuoteRune(r)+" where "+expected+" is expected")
}

// Fail makes an error that says what is expected at i.
func Fail(s string, i int, expected string) error { return fail(s, i, expected) }

// Space returns the index of the first byte from i on that is not white space.
func Space(s string, i int) int {
	for i < len(s) {
		switch s[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// What a byte within a string is.
const (
	plain    = iota
	special  // quote, backslash or control
	nonASCII // part of a longer rune
)

var classes = func() (c [256]byte) {
	for i := range c {
		switch {
		case i < 0x20 || i == '"' || i == '\\':
			c[i] = special
		case i >= utf8.RuneSelf:
			c[i] = nonASCII
		}
	}
	return c
}()

// String decodes the string whose opening quote is at i and returns the index behind its closing
// one. The text is a part of s where it has no escapes. Invalid UTF-8 becomes U+FFFD.
func String(s string, i int) (text string, end int, err error) {
	start := i + 1
	ascii := true
	for i = start; i < len(s); i++ {
		switch classes[s[i]] {
		case plain:
			continue
		case nonASCII:
			ascii = false
			continue
		}
		switch s[i] {
		case '"':
			text = s[start:i]
			if !ascii && !utf8.ValidString(text) {
				return unescape(s, start)
			}
			return text, i + 1, nil
		case '\\':
			return unescape(s, start)
		default:
			return "", i, wrong(i, "a control character within a string")
		}
	}
	return "", i, wrong(i, "the text ends within a string")
}

// unescape decodes a string that is not a plain part of s.
func unescape(s string, start int) (string, int, error) {
	var b strings.Builder
	i, from := start, start
	for i < len(s) {
		switch c := s[i]; {
		case c == '"':
			b.WriteString(s[from:i])
			return b.String(), i + 1, nil
		case c == '\\':
			b.WriteString(s[from:i])
			r, end, err := escape(s, i)
			if err != nil {
				return "", end, err
			}
			b.WriteRune(r)
			i, from = end, end
		case c < 0x20:
			return "", i, wrong(i, "a control character within a string")
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b.WriteString(s[from:i])
				b.WriteRune(utf8.RuneError)
				from = i + 1
			}
			i += n
		}
	}
	return "", i, wrong(i, "the text ends within a string")
}

// escape decodes the escape whose backslash is at i.
func escape(s string, i int) (r rune, end int, err error) {
	if i+1 >= len(s) {
		return 0, i, wrong(len(s), "the text ends within a string")
	}
	switch s[i+1] {
	case '"', '\\', '/':
		return rune(s[i+1]), i + 2, nil
	case 'b':
		return '\b', i + 2, nil
	case 'f':
		return '\f', i + 2, nil
	case 'n':
		return '\n', i + 2, nil
	case 'r':
		return '\r', i + 2, nil
	case 't':
		return '\t', i + 2, nil
	case 'u':
		r, ok := hex4(s, i+2)
		if !ok {
			return 0, i, wrong(i, `\u without four hex digits`)
		}
		end = i + 6
		if utf16.IsSurrogate(r) {
			if low, ok := hex4(s, end+2); ok && s[end] == '\\' && s[end+1] == 'u' {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return pair, end + 6, nil
				}
			}
			return utf8.RuneError, end, nil
		}
		return r, end, nil
	}
	return 0, i, wrong(i, "an unknown escape within a string")
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Number returns the index behind the number that begins at i.
func Number(s string, i int) (end int, err error) {
	if i < len(s) && s[i] == '-' {
		i++
	}
	switch {
	case i < len(s) && s[i] == '0':
		i++
	case i < len(s) && '1' <= s[i] && s[i] <= '9':
		i = digits(s, i)
	default:
		return i, fail(s, i, "a digit")
	}
	if i < len(s) && s[i] == '.' {
		first := i + 1
		if i = digits(s, first); i == first {
			return i, fail(s, i, "a digit")
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		first := i
		if i = digits(s, first); i == first {
			return i, fail(s, i, "a digit")
		}
	}
	return i, nil
}

func digits(s string, i int) int {
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return i
}

// Literal returns the index behind true, false or null at i.
func Literal(s string, i int) (end int, err error) {
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s[i:], word) {
			return i + len(word), nil
		}
	}
	return i, fail(s, i, "a value")
}

// Skip checks the value that begins at i, nested at most depth deep, and returns the index behind
// it.
func Skip(s string, i, depth int) (end int, err error) {
	if i >= len(s) {
		return i, fail(s, i, "a value")
	}
	switch c := s[i]; {
	case c == '"':
		return skipString(s, i)
	case c == '{':
		if depth <= 0 {
			return i, TooDeep(i)
		}
		return skipObject(s, i, depth)
	case c == '[':
		if depth <= 0 {
			return i, TooDeep(i)
		}
		return skipArray(s, i, depth)
	case c == '-' || '0' <= c && c <= '9':
		return Number(s, i)
	default:
		return Literal(s, i)
	}
}

// TooDeep is the error of a value that is nested too deep.
func TooDeep(i int) error {
	return &SyntaxError{Offset: i, Reason: "nested too deep", TooDeep: true}
}

func skipString(s string, i int) (int, error) {
	for i++; i < len(s); {
		switch c := s[i]; {
		case classes[c] != special:
			i++
		case c == '"':
			return i + 1, nil
		case c == '\\':
			_, end, err := escape(s, i)
			if err != nil {
				return end, err
			}
			i = end
		default:
			return i, wrong(i, "a control character within a string")
		}
	}
	return i, wrong(i, "the text ends within a string")
}

func skipObject(s string, i, depth int) (int, error) {
	i = Space(s, i+1)
	if i < len(s) && s[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(s) || s[i] != '"' {
			return i, fail(s, i, "a quoted key")
		}
		end, err := skipString(s, i)
		if err != nil {
			return end, err
		}
		if i, err = Colon(s, end); err != nil {
			return i, err
		}
		if i, err = Skip(s, i, depth-1); err != nil {
			return i, err
		}
		var more bool
		if i, more, err = Next(s, i, '}'); err != nil || !more {
			return i, err
		}
	}
}

func skipArray(s string, i, depth int) (int, error) {
	i = Space(s, i+1)
	if i < len(s) && s[i] == ']' {
		return i + 1, nil
	}
	for {
		var err error
		if i, err = Skip(s, i, depth-1); err != nil {
			return i, err
		}
		var more bool
		if i, more, err = Next(s, i, ']'); err != nil || !more {
			return i, err
		}
	}
}

// Colon takes the colon behind a key and returns the index of the value.
func Colon(s string, i int) (int, error) {
	i = Space(s, i)
	if i >= len(s) || s[i] != ':' {
		return i, fail(s, i, "a colon")
	}
	return Space(s, i+1), nil
}

// Next takes what follows a member or element: a comma, then more is true and the index that of
// the next one; or the closing bracket, then the index is behind it.
func Next(s string, i int, closing byte) (next int, more bool, err error) {
	i = Space(s, i)
	switch {
	case i < len(s) && s[i] == ',':
		return Space(s, i+1), true, nil
	case i < len(s) && s[i] == closing:
		return i + 1, false, nil
	}
	return i, false, fail(s, i, "a comma or "+string(rune(closing)))
}
