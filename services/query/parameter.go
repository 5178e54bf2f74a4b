package query

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/midwatch/midwatch/services/access"
)

// The generated code decodes parameters but does not hold them to the bounds of the description; these functions do.
// They name the parameter in their errors.

func invalid(format string, args ...any) error { return access.Invalid(format, args...) }

func notFound(format string, args ...any) error { return access.NotFound(format, args...) }

// count returns a number from 1 to most, or fallback where the caller gave none.
func count(name string, v *int, most, fallback int) (int, error) {
	if v == nil {
		return fallback, nil
	}
	if *v < 1 || *v > most {
		return 0, invalid("%s: %d is not from 1 to %d", name, *v, most)
	}
	return *v, nil
}

// words returns a text of at most length characters, or "" where the caller gave none.
func words(name string, v *string, length int) (string, error) {
	switch {
	case v == nil:
		return "", nil
	case !utf8.ValidString(*v):
		return "", invalid("%s: the text is not valid UTF-8", name)
	case utf8.RuneCountInString(*v) > length:
		return "", invalid("%s: the text is longer than %d characters", name, length)
	}
	return *v, nil
}

// names returns up to most different texts of at most length characters each.
func names(name string, v *[]string, most, length int) ([]string, error) {
	if v == nil {
		return nil, nil
	}
	if len(*v) > most {
		return nil, invalid("%s: %d are given and at most %d are taken", name, len(*v), most)
	}
	out := make([]string, 0, len(*v))
	for _, one := range *v {
		if _, err := words(name, &one, length); err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return unique(out), nil
}

// unique returns the different ones of l in their order, in the same array.
func unique(l []string) []string {
	seen := make(map[string]struct{}, len(l))
	out := l[:0]
	for _, one := range l {
		if _, ok := seen[one]; !ok {
			seen[one] = struct{}{}
			out = append(out, one)
		}
	}
	return out
}

// issueID reads 16 lower-case hexadecimal digits.
func issueID(v string) (uint64, error) {
	if len(v) == 16 && isHex(v) {
		if id, err := strconv.ParseUint(v, 16, 64); err == nil {
			return id, nil
		}
	}
	return 0, invalid("issue: %q is not an issue's id, which has 16 hexadecimal digits", v)
}

// eventID reads 32 lower-case hexadecimal digits.
func eventID(v string) ([16]byte, error) {
	var id [16]byte
	if len(v) == 32 && isHex(v) {
		if _, err := hex.Decode(id[:], []byte(v)); err == nil {
			return id, nil
		}
	}
	return id, invalid("event: %q is not an event's id, which has 32 hexadecimal digits", v)
}

func isHex(v string) bool {
	for i := range len(v) {
		if c := v[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ---- answers

// each maps a list; the result is never nil, so that it is written as a list.
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, one := range in {
		out[i] = f(one)
	}
	return out
}

// resize returns a list of n zero values of l's type, whose element the generated code leaves without a name.
func resize[T any](_ []T, n int) []T { return make([]T, n) }

// present returns m, or an empty map for none.
func present[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// presentTrend returns t, or an empty trend for none.
func presentTrend(t Trend) Trend {
	if t == nil {
		return Trend{}
	}
	return t
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func seconds(d time.Duration) int { return int(d / time.Second) }
