package match

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestConditionsHoldForTheWholeValue(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"service": "checkout", "area": "latency", "note": "two\nlines"}
	for text, want := range map[string]bool{
		`service="checkout"`:       true,
		`service="check"`:          false,
		`service!="checkout"`:      false,
		`service!="cart"`:          true,
		`service=~"check.*"`:       true,
		`service=~"check"`:         false,
		`service=~"heck"`:          false,
		`service=~"cart|checkout"`: true,
		`service=~"cart|check"`:    false,
		`service!~"cart|check"`:    true,
		`service!~"c.*"`:           false,
		`note=~"two.*"`:            true,
		`note=~"two"`:              false,
		`absent=""`:                true,
		`absent!=""`:               false,
		`absent=~".+"`:             false,
		`absent!~".+"`:             true,
		`service=checkout`:         true,
		`  service = "checkout"  `: true,
		"service=~`check(out)?`":   true,
	} {
		m, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := m.Match(labels); got != want {
			t.Errorf("%s: got %v", text, got)
		}
		literal := Matcher{Label: m.Label, Op: m.Op, Value: m.Value}
		if got := literal.Match(labels); got != want {
			t.Errorf("%s as a literal: got %v", text, got)
		}
	}
}

func TestWhatIsNoConditionIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                                  "is not a condition",
		`service`:                           "is not a condition",
		`="x"`:                              "is not a condition",
		`service="x`:                        "not closed",
		`service==checkout`:                 "part of the operator",
		`service=`:                          "is missing",
		`service="x" more`:                  "there is more",
		`sérvice="x"`:                       "is not a condition",
		`service=~"("`:                      "not a regular expression",
		`service=~"a)|(b"`:                  "not a regular expression",
		`service=~"(a{900})(b{900})c{900}"`: "repeats too much",
		`service=~"` + strings.Repeat("a", 201) + `"`: "at most 200 bytes",
		`service="` + strings.Repeat("a", 1001) + `"`: "more than 1000 bytes",
		strings.Repeat("a", 129) + `="x"`:             "more than 128 bytes",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %q", text, err, want)
		}
	}
	for _, m := range []Matcher{{}, {Label: "a", Op: "=="}, {Label: "a", Op: Like, Value: "("}, {Label: "a", Op: NotLike, Value: "("}} {
		if m.Validate() == nil || m.Match(nil) {
			t.Errorf("%+v is valid or matches", m)
		}
	}
}

func TestASetIsReadAndPrinted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:    `{}`,
		`{}`:  `{}`,
		`a=b`: `{a="b"}`,
		`{service="checkout", area=~"latency|availability",}`: `{service="checkout",area=~"latency|availability"}`,
		` a="x,y" ,b!='z' `: `{a="x,y",b!="'z'"}`,
	} {
		set, err := ParseSet(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := set.String(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{`{a="b"`, `a="b" c="d"`, `,`, `{a="b",,}`, strings.Repeat(`a="b",`, 21)} {
		if set, err := ParseSet(text); err == nil {
			t.Errorf("%.40s: got %v", text, set)
		}
	}
}

func TestASetNamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	err := Set{{Label: "a", Op: Equal}, {Label: "a", Op: "=="}}.Validate()
	if err == nil || !strings.HasPrefix(err.Error(), "matchers[1].op: ") {
		t.Errorf("got %v", err)
	}
}

func TestMatchersComeFromObjectsAndTexts(t *testing.T) {
	t.Parallel()
	var set Set
	if err := json.Unmarshal([]byte(`[{"label":"a","op":"=~","value":"b+"}, "c!=\"d\""]`), &set); err != nil {
		t.Fatal(err)
	}
	want := Set{{Label: "a", Op: Like, Value: "b+"}, {Label: "c", Op: NotEqual, Value: "d"}}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Error(diff)
	}
	if set[0].expression == nil {
		t.Error("an expression from JSON is not compiled")
	}
	printed, err := json.Marshal(set[:1])
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(printed), `[{"label":"a","op":"=~","value":"b+"}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []string{`["a"]`, `[{"label":"a","op":"=~","value":"("}]`, `[7]`} {
		if err := json.Unmarshal([]byte(bad), &set); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestAPrintedSetReadsTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set := Set{}
		for range rapid.IntRange(0, MaxMatchers).Draw(t, "conditions") {
			set = append(set, Matcher{
				Label: rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_.:/-]{0,20}`).Draw(t, "label"),
				Op:    rapid.SampledFrom([]string{Equal, NotEqual}).Draw(t, "op"),
				Value: rapid.StringN(0, 20, -1).Draw(t, "value"),
			})
		}
		again, err := ParseSet(set.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(set, append(Set{}, again...)); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzParseSet looks for texts that panic, or that read differently once printed.
func FuzzParseSet(f *testing.F) {
	f.Add(`{service="checkout",area=~"a|b"}`)
	f.Add("a=`b`,c!=d")
	f.Add(`a="\xff"`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := ParseSet(text)
		if err != nil {
			return
		}
		again, err := ParseSet(set.String())
		if err != nil {
			t.Fatalf("%q: %v", set.String(), err)
		}
		if diff := cmp.Diff(set, again); diff != "" {
			t.Error(diff)
		}
	})
}
