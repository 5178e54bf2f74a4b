package oncall

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/match"
)

func matchers(t testing.TB, text string) match.Set {
	t.Helper()
	set, err := match.ParseSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestRoutesAreFoundInOrder(t *testing.T) {
	t.Parallel()
	routes := Routes{[]Route{
		{ID: "audit", Team: "security", Matchers: matchers(t, `area="correctness"`), Continue: true},
		{ID: "shop", Team: "shop", Policy: "shop-pages", Matchers: matchers(t, `service=~"checkout|cart"`), GroupBy: []string{"service"}, Routes: []Route{
			{ID: "staging", Policy: "mail", Matchers: matchers(t, `environment!="production"`)},
			{ID: "cart", Team: "cart", Matchers: matchers(t, `service="cart"`)},
		}},
		{ID: "late", Team: "never", Matchers: matchers(t, `service="checkout"`)},
		{ID: "default", Team: "platform"},
	}}
	valid(t, routes)
	for _, c := range []struct {
		labels map[string]string
		want   []Match
	}{
		{nil, []Match{{Team: "platform", GroupBy: DefaultGroupBy(), Path: []string{"default"}}}},
		{
			map[string]string{"service": "checkout", "environment": "production"},
			[]Match{{Team: "shop", Policy: "shop-pages", GroupBy: []string{"service"}, Path: []string{"shop"}}},
		},
		{
			map[string]string{"service": "cart", "environment": "staging"},
			[]Match{{Team: "shop", Policy: "mail", GroupBy: []string{"service"}, Path: []string{"shop", "staging"}}},
		},
		{
			map[string]string{"service": "cart", "environment": "production", "area": "correctness"},
			[]Match{
				{Team: "security", GroupBy: DefaultGroupBy(), Path: []string{"audit"}},
				{Team: "cart", GroupBy: []string{"service"}, Path: []string{"shop", "cart"}},
			},
		},
	} {
		if diff := cmp.Diff(c.want, routes.Find(c.labels)); diff != "" {
			t.Errorf("%v: %s", c.labels, diff)
		}
	}
}

func TestRoutesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	deep := Route{ID: "deepest", Team: "x"}
	for i := range 5 {
		deep = Route{ID: fmt.Sprint(i), Team: "x", Routes: []Route{deep}}
	}
	many := make([]Route, 201)
	for i := range many {
		many[i] = Route{ID: fmt.Sprint(i), Team: "x", Continue: true}
	}
	one := matchers(t, "a=b")
	for want, routes := range map[string][]Route{
		"routes: are missing":                nil,
		"routes[0].id: is missing":           {{Team: "x"}},
		"routes[1].id: ":                     {{ID: "a", Team: "x", Matchers: one}, {ID: "a", Team: "x"}},
		"routes[0].team: ":                   {{ID: "a"}},
		"routes[0].routes[0].matchers[0].op": {{ID: "a", Team: "x", Routes: []Route{{ID: "b", Matchers: match.Set{{Label: "a"}}}}}},
		"routes[0].matchers: the last":       {{ID: "a", Team: "x", Matchers: one}},
		"routes[0].matchers: are missing":    {{ID: "a", Team: "x"}, {ID: "b", Team: "x"}},
		"routes[0].group_by[0]: ":            {{ID: "a", Team: "x", GroupBy: []string{""}}},
		"routes[200]: more than 200":         many,
		"routes[0].routes[0].routes[0].routes[0].routes[0].routes: routes are more than 5 deep": {deep},
	} {
		if err := (Routes{routes}).Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
