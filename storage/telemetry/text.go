package telemetry

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is a parsed text filter: what must be in a message and what must not.
//
// The grammar is what people type into a search box. Words stand apart by white space, and all of
// them must be in the message, in any case; a word is met by the same whole word, so that `time`
// does not find `timeout`. A word with punctuation inside, such as `db-1:5432` or `/api/items`,
// must be there as it is written, again of whole words. "A quoted phrase" must be there as it
// stands, in any case, and may begin and end inside of words; \" and \\ stand for a quote and a
// backslash in it. A minus sign before a word or phrase excludes the messages that have it.
type Text struct {
	terms []term
}

type term struct {
	exclude bool
	// tokens are the whole words that a message with this term has; they are looked up in the
	// index. None is empty.
	tokens []string
	// part is what a message with this term has as it stands; empty where tokens say it all.
	part string
}

// Limits of a text filter.
const (
	maxTextBytes = 4000
	maxTextTerms = 50
)

// ParseText reads a text filter. Every text has a meaning; the error, an *InvalidError, is for what
// is too long.
func ParseText(s string) (Text, error) {
	if len(s) > maxTextBytes {
		return Text{}, invalid("the search text is longer than %d bytes", maxTextBytes)
	}
	var t Text
	for {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
		if s == "" {
			return t, nil
		}
		if len(t.terms) == maxTextTerms {
			return Text{}, invalid("the search text has more than %d words", maxTextTerms)
		}
		var next term
		if rest, ok := strings.CutPrefix(s, "-"); ok && rest != "" && !startsWithSpace(rest) {
			next.exclude = true
			s = rest
		}
		if rest, ok := strings.CutPrefix(s, `"`); ok {
			var phrase string
			phrase, s = cutPhrase(rest)
			if phrase == "" {
				continue
			}
			next.part, next.tokens = phrase, inner(phrase)
		} else {
			end := strings.IndexFunc(s, unicode.IsSpace)
			if end < 0 {
				end = len(s)
			}
			word := s[:end]
			s = s[end:]
			next.tokens = tokens(word)
			if len(next.tokens) != 1 || next.tokens[0] != word {
				next.part = word
			}
		}
		t.terms = append(t.terms, next)
	}
}

func startsWithSpace(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsSpace(r)
}

// cutPhrase reads a phrase up to its closing quote, or to the end where there is none.
func cutPhrase(s string) (phrase, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// tokens cuts a text as the index does (splitByNonAlpha): at every ASCII character that is neither
// a letter nor a digit.
func tokens(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r < utf8.RuneSelf && !isAlphanumeric(byte(r)) })
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// inner returns the tokens of a phrase that are whole in every message that has the phrase: all but
// those at its ends.
func inner(phrase string) []string {
	separator := func(r rune) bool { return r < utf8.RuneSelf && !isAlphanumeric(byte(r)) }
	begin := strings.IndexFunc(phrase, separator)
	end := strings.LastIndexFunc(phrase, separator)
	if begin < 0 || begin == end {
		return nil
	}
	return tokens(phrase[begin:end])
}

// where returns the condition on the column body, which begins with AND or is empty, and adds its
// values to p. Both sides are folded by the same function of the database, and the needles reach
// it as parameters.
func (t Text) where(p params) string {
	var b strings.Builder
	for _, term := range t.terms {
		b.WriteString(" AND ")
		if term.exclude {
			b.WriteString("NOT ")
		}
		b.WriteString("(")
		if len(term.tokens) > 0 {
			name := p.add("tokens", strings.Join(term.tokens, " "))
			b.WriteString("hasAllTokens(lowerUTF8(body), lowerUTF8({" + name + ":String}))")
			if term.part != "" {
				b.WriteString(" AND ")
			}
		}
		if term.part != "" {
			name := p.add("part", "%"+likeEscaper.Replace(term.part)+"%")
			b.WriteString("lowerUTF8(body) LIKE lowerUTF8({" + name + ":String})")
		}
		b.WriteString(")")
	}
	return b.String()
}

// likeEscaper makes text stand for itself in a LIKE pattern.
var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
