package telemetry

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseText(t *testing.T) {
	t.Parallel()
	f := func(s string, want ...term) {
		t.Helper()
		got, err := ParseText(s)
		if err != nil {
			t.Fatalf("ParseText(%q): %v", s, err)
		}
		if d := cmp.Diff(want, got.terms, cmp.AllowUnexported(term{}), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("ParseText(%q) (-want +got):\n%s", s, d)
		}
	}
	word := func(s string) term { return term{tokens: []string{s}} }
	not := func(t term) term { t.exclude = true; return t }
	f("")
	f(" \t\n\u00a0")
	f("a", word("a"))
	f(" a  b ", word("a"), word("b"))
	f("-a", not(word("a")))
	f("--a", not(term{tokens: []string{"a"}, part: "-a"}))
	f("-", term{part: "-"})
	f("- a", term{part: "-"}, word("a"))
	f("größe", word("größe"))
	f("a.b", term{tokens: []string{"a", "b"}, part: "a.b"})
	f(".a", term{tokens: []string{"a"}, part: ".a"})
	f(`a"b c"`, term{tokens: []string{"a", "b"}, part: `a"b`}, term{tokens: []string{"c"}, part: `c"`})
	f(`"a"`, term{part: "a"})
	f(`"a b"`, term{part: "a b"})
	f(`"a b c"`, term{part: "a b c", tokens: []string{"b"}})
	f(`"a bb, cc.d"`, term{part: "a bb, cc.d", tokens: []string{"bb", "cc"}})
	f(`" a "`, term{part: " a ", tokens: []string{"a"}})
	f(`-"a b"`, not(term{part: "a b"}))
	f(`""`)
	f(`"" a`, word("a"))
	f(`-""`)
	f(`"`)
	f(`"a`, term{part: "a"})
	f(`"a"b`, term{part: "a"}, word("b"))
	f(`"a\"b\\c\d"`, term{part: `a"b\c\d`, tokens: []string{"b", "c"}})
	f("%_", term{part: "%_"})
}

func TestParseTextRefusesWhatIsTooLong(t *testing.T) {
	t.Parallel()
	for _, s := range []string{strings.Repeat("a", maxTextBytes+1), strings.Repeat("a ", maxTextTerms+1)} {
		var invalid *InvalidError
		if _, err := ParseText(s); !errors.As(err, &invalid) {
			t.Errorf("ParseText of %d bytes: %v, want an InvalidError", len(s), err)
		}
	}
}

func FuzzParseText(f *testing.F) {
	for _, s := range []string{"", "a -b", `"a b" -"c`, `\"`, "a.b%_\\", "\xff\x00", "- -", `-"" "\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := ParseText(s)
		if err != nil {
			return
		}
		p := params{}
		where := text.where(p)
		if strings.Count(where, " AND ") < len(text.terms) {
			t.Fatalf("ParseText(%q) lost a term: %s", s, where)
		}
		// No text of the user is in the SQL: what is not ours are names of parameters.
		if strings.ContainsAny(strings.NewReplacer("'", "").Replace(where), `'"\%`) || !utf8.ValidString(where) {
			t.Fatalf("ParseText(%q).where() = %s", s, where)
		}
		for _, term := range text.terms {
			if len(term.tokens) == 0 && term.part == "" {
				t.Fatalf("ParseText(%q) has an empty term", s)
			}
			for _, token := range term.tokens {
				if token == "" || !strings.Contains(s, token) && !strings.Contains(s, `\`) {
					t.Fatalf("ParseText(%q) has the token %q", s, token)
				}
			}
		}
	})
}

func FuzzReadCursor(f *testing.F) {
	f.Add("")
	f.Add(writeCursor(1, 2))
	f.Add("AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		at, id, err := readCursor(s)
		if err == nil && writeCursor(at, id) != s {
			t.Fatalf("readCursor(%q) = %d, %d, which is %q", s, at, id, writeCursor(at, id))
		}
	})
}
