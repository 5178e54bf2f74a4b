package jsonscan

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

var seeds = []string{
	`{"a":[1,-0.5e+10,{"b":null}],"c":"\u00e4\ud83d\ude00\ud800x\n"}`, `"\ud83d\u0041"`, "\"\xff\xc3\x28\"", `[]`, `{}`, ` [ { } , "" ] `,
	`01`, `1.`, `-`, `1e`, `tru`, `nul`, `"`, `"\u12g4"`, `"\x"`, `{"a"}`, `{"a":1,}`, `[1,]`, "\"a\nb\"", `{a:1}`, ``, `1 2`,
}

func TestSkipSaysWhere(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]SyntaxError{
		`[1,]`:                 {Offset: 3, Reason: `']' where a value is expected`},
		`{"a" 1}`:              {Offset: 5, Reason: `'1' where a colon is expected`},
		`{"a":1`:               {Offset: 6, Reason: `the text ends where a comma or } is expected`},
		`"a`:                   {Offset: 2, Reason: `the text ends within a string`},
		`"\q"`:                 {Offset: 1, Reason: `an unknown escape within a string`},
		`"\u12"`:               {Offset: 1, Reason: `\u without four hex digits`},
		"\"a\tb\"":             {Offset: 2, Reason: `a control character within a string`},
		`nil`:                  {Offset: 0, Reason: `'n' where a value is expected`},
		`[[[[1]]]]`:            {Offset: 3, Reason: `nested too deep`, TooDeep: true},
		`{"a":{"b":{"c":{}}}}`: {Offset: 15, Reason: `nested too deep`, TooDeep: true},
	} {
		_, err := Skip(text, 0, 3)
		var got *SyntaxError
		if !errors.As(err, &got) || *got != want {
			t.Errorf("Skip(%s) = %+v, want %+v", text, err, want)
		}
	}
}

// FuzzSkip: what is JSON is what encoding/json says is JSON.
func FuzzSkip(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		end, err := Skip(text, Space(text, 0), 10000)
		got := err == nil && Space(text, end) == len(text)
		if want := json.Valid([]byte(text)); got != want {
			t.Errorf("Skip(%q) = %d, %v; encoding/json says %t", text, end, err, want)
		}
	})
}

// FuzzString: strings are decoded as encoding/json decodes them.
func FuzzString(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !strings.HasPrefix(text, `"`) {
			text = `"` + text + `"`
		}
		got, end, err := String(text, 0)
		skipped, skipErr := Skip(text, 0, 1)
		if (err == nil) != (skipErr == nil) || err == nil && skipped != end {
			t.Fatalf("String(%q) ends at %d, %v; Skip at %d, %v", text, end, err, skipped, skipErr)
		}
		if err != nil {
			if json.Valid([]byte(text)) {
				t.Fatalf("String(%q): %v", text, err)
			}
			return
		}
		var want string
		if err := json.Unmarshal([]byte(text[:end]), &want); err != nil || got != want {
			t.Fatalf("String(%q) = %q, encoding/json says %q, %v", text, got, want, err)
		}
	})
}
