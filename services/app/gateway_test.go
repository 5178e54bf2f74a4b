package app

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/services/config"
	"github.com/midwatch/midwatch/services/self"
)

// gateway is deployments/docker/gateway.conf, as far as it says which role gets a request.
type gateway struct {
	api     []choice // the map $api, its default last
	servers map[string][]location
}

// choice is a line of a map; an empty pattern is its default.
type choice struct {
	pattern *regexp.Regexp
	role    string
}

// location is one of a server: a prefix, or a pattern, which goes before prefixes.
type location struct {
	prefix  string
	pattern *regexp.Regexp
	role    string // "" is as the map says
}

var (
	choiceLine   = regexp.MustCompile(`^(?:"~([^"]+)"|default)\s+([a-z-]+):8080;$`)
	listenLine   = regexp.MustCompile(`^listen ([0-9]+);$`)
	locationLine = regexp.MustCompile(`^location (~ )?(\S+) \{ (?:set \$up (?:grpc://)?([a-z-]+):([0-9]+); )?(?:proxy_pass http://\$(?:up|api)|grpc_pass \$up); \}$`)
)

func readGateway(t *testing.T) gateway {
	t.Helper()
	text, err := os.ReadFile("../../deployments/docker/gateway.conf")
	if err != nil {
		t.Fatal(err)
	}
	g := gateway{servers: map[string][]location{}}
	port := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if m := choiceLine.FindStringSubmatch(line); m != nil {
			c := choice{role: m[2]}
			if m[1] != "" {
				c.pattern = regexp.MustCompile(m[1])
			}
			g.api = append(g.api, c)
		}
		if m := listenLine.FindStringSubmatch(line); m != nil {
			port = m[1]
		}
		if m := locationLine.FindStringSubmatch(line); m != nil {
			l := location{prefix: m[2], role: m[3]}
			if m[1] != "" {
				l = location{pattern: regexp.MustCompile(m[2]), role: m[3]}
			}
			if m[3] != "" && m[4] != port {
				t.Errorf("%s goes on to port %s, of %s", line, m[4], port)
			}
			g.servers[port] = append(g.servers[port], l)
		} else if strings.HasPrefix(line, "location") {
			t.Errorf("this test cannot read %q", line)
		}
	}
	return g
}

// role says who gets a request, by the rules of nginx: the first pattern that matches, else the longest
// prefix.
func (g gateway) role(port, method, path string) string {
	best := location{}
	for _, l := range g.servers[port] {
		switch {
		case l.pattern != nil && l.pattern.MatchString(path):
			return l.role
		case l.pattern == nil && strings.HasPrefix(path, l.prefix) && len(l.prefix) > len(best.prefix):
			best = l
		}
	}
	if best.prefix == "" || best.role != "" {
		return best.role
	}
	fallback := ""
	for _, c := range g.api {
		if c.pattern == nil {
			fallback = c.role
		} else if c.pattern.MatchString(method + " " + path) {
			return c.role
		}
	}
	return fallback
}

// request is one that a route takes.
type request struct{ port, method, path string }

// routes are requests for all routes that a role mounts when it runs alone.
func routes(t *testing.T, role Role) []request {
	t.Helper()
	own, err := self.Open(t.Context(), self.Config{Service: "test", LogFormat: "text", LogLevel: "error"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close(t.Context())
	cfg, err := config.Load([]string{"APP_ENV=test", "MIDWATCH_HTTP_PORT=0", "MIDWATCH_OTLP_HTTP_PORT=0", "MIDWATCH_OTLP_GRPC_PORT=0", "MIDWATCH_INTERNAL_PORT=0"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), cfg, roles{role})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	// What is only mounted needs no parts.
	if _, err := wire(cfg, own, &parts{cfg: cfg, log: own.Log}, l, roles{role}); err != nil {
		t.Fatal(err)
	}
	var all []request
	add := func(port string, one *listener) {
		if one == nil {
			return
		}
		for _, route := range one.echo.Routes() {
			all = append(all, request{port, route.Method, example(route)})
		}
	}
	add("8080", l.public)
	add("4318", l.otlp)
	if l.grpc != nil {
		for service, info := range l.grpc.GetServiceInfo() {
			for _, method := range info.Methods {
				all = append(all, request{"4317", http.MethodPost, "/" + service + "/" + method.Name})
			}
		}
	}
	return all
}

var parameter = regexp.MustCompile(`:[a-z]+`)

// example is a path of a route: projects have numbers, all else may have any name.
func example(route *echo.Route) string {
	path := strings.ReplaceAll(route.Path, ":project", "1")
	path = parameter.ReplaceAllString(path, "some-name")
	return strings.ReplaceAll(path, "*", "some/thing")
}

func TestTheGatewaySendsEachPathToARoleThatServesIt(t *testing.T) {
	g := readGateway(t)
	served := map[request][]string{}
	for _, role := range Roles() {
		if role == Writer || role == Alerting {
			continue // which nobody outside asks anything
		}
		for _, r := range routes(t, role) {
			served[r] = append(served[r], string(role))
		}
	}
	if len(served) < 100 {
		t.Fatalf("only %d routes are mounted", len(served))
	}
	for r, roles := range served {
		if got := g.role(r.port, r.method, r.path); !slices.Contains(roles, got) {
			t.Errorf("port %s: %s %s goes to %q, and is served by %s", r.port, r.method, r.path, got, strings.Join(roles, ", "))
		}
	}
}
