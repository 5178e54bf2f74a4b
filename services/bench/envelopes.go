package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	issueCount    = 300
	envelopeBytes = 8 << 10
)

// platform is a language with what its SDK says of a frame.
type platform struct {
	name, sdk, file, module, function, code string
	kinds, values                           []string
}

var platforms = []platform{
	{
		"python", "sentry.python.django", "shop/%s/views_%d.py", "shop.%s.views_%d", "handle_%s_%d", "    result = %s.process(order, retries=%d, timeout=settings.TIMEOUT)",
		[]string{"KeyError", "ValueError", "ConnectionError", "IntegrityError"},
		[]string{"'user_%d'", "invalid literal for int() with base 10: 'n%d'", "HTTPSConnectionPool(host='billing-%d.internal', port=443): Read timed out.", "duplicate key value violates unique constraint \"orders_pkey\" DETAIL: Key (id)=(%d) already exists."},
	},
	{
		"javascript", "sentry.javascript.react", "https://shop.example/static/%s.%d.js", "static/%s.%d", "render%s%d", "    const total = cart.%s.items[%d].price * quantity;",
		[]string{"TypeError", "ReferenceError", "ChunkLoadError", "UnhandledRejection"},
		[]string{"Cannot read properties of undefined (reading 'total%d')", "cart%d is not defined", "Loading chunk %d failed.", "Request failed with status code 5%02d"},
	},
	{
		"go", "sentry.go", "internal/%s/service_%d.go", "shop/internal/%s%d", "(*Service).do%s%d", "\treturn nil, fmt.Errorf(\"%s %d: %%w\", err)",
		[]string{"*errors.errorString", "*net.OpError", "runtime.Error", "*pgconn.PgError"},
		[]string{"context deadline exceeded after %d ms", "dial tcp 10.0.0.%d:5432: connect: connection refused", "runtime error: index out of range [%d] with length 4", "ERROR: deadlock detected on relation %d (SQLSTATE 40P01)"},
	},
	{
		"java", "sentry.java.spring-boot", "%sController%d.java", "example.shop.%s.Controller%d", "handle%s%d", "        return %sRepository.findById(%d).orElseThrow();",
		[]string{"NullPointerException", "IllegalStateException", "SQLTransientConnectionException", "HttpMessageNotReadableException"},
		[]string{"Cannot invoke \"Order.getTotal()\" because order %d is null", "Cart %d is closed", "HikariPool-1 - Connection is not available, request timed out after %dms.", "JSON parse error at column %d"},
	},
}

var modules = []string{"checkout", "cart", "billing", "search", "account", "mail", "stock", "shipping"}

type object = map[string]any

// kindOfIssue is what all events of one issue share.
type kindOfIssue struct {
	platform     platform
	kind, value  string
	module       string
	frames       []any
	transaction  string
	breadcrumbTo string
}

// issueKind makes the issue of a number, always the same.
func issueKind(n int) kindOfIssue {
	r := rand.New(rand.NewPCG(11, uint64(n)))
	p := platforms[n%len(platforms)]
	k := kindOfIssue{platform: p, module: modules[n/len(platforms)%len(modules)]}
	which := r.IntN(len(p.kinds))
	k.kind, k.value = p.kinds[which], p.values[which]
	k.transaction = fmt.Sprintf("/%s/action_%d", k.module, n)
	k.breadcrumbTo = fmt.Sprintf("/%s/page_%d", k.module, n)
	depth := 9 + r.IntN(5)
	for f := range depth {
		module, id := pick(r, modules), r.IntN(50)
		if f == depth-1 { // where it happened names the issue
			module, id = k.module, n
		}
		code := func(line int) string { return fmt.Sprintf(p.code, module, line) }
		line := 10 + r.IntN(400)
		k.frames = append(k.frames, object{
			"filename": fmt.Sprintf(p.file, module, id), "module": fmt.Sprintf(p.module, module, id),
			"function": fmt.Sprintf(p.function, module, id), "lineno": line, "colno": 8, "in_app": f%3 != 0,
			"pre_context": []string{code(line - 2), code(line - 1)}, "context_line": code(line), "post_context": []string{code(line + 1)},
		})
	}
	return k
}

// envelopes makes requests of a Sentry SDK, one event of about 8 KB each, all with ids of their
// own, that happened within the last minutes before now.
func envelopes(count int, now time.Time) ([]request, error) {
	r := rand.New(rand.NewPCG(13, 0))
	kinds := make([]kindOfIssue, issueCount)
	for i := range kinds {
		kinds[i] = issueKind(i)
	}
	out := make([]request, count)
	for i := range out {
		body, err := envelope(r, kinds[r.IntN(len(kinds))], now.Add(-time.Duration(count-i)*time.Millisecond))
		if err != nil {
			return nil, err
		}
		out[i] = request{path: "/api/1/envelope/", body: body, records: 1, headers: map[string]string{
			"Content-Type":  "application/x-sentry-envelope",
			"X-Sentry-Auth": "Sentry sentry_version=7, sentry_client=bench/1, sentry_key=" + ingestKey,
		}}
	}
	return out, nil
}

func envelope(r *rand.Rand, k kindOfIssue, at time.Time) ([]byte, error) {
	id := fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
	value := k.value
	value = fmt.Sprintf(value, r.IntN(100))
	user := r.IntN(5000)
	var crumbs []any
	crumb := func(i int) object {
		return object{
			"timestamp": at.Add(time.Duration(i-40) * time.Second).Format(time.RFC3339Nano), "type": "http", "category": pick(r, []string{"httplib", "query", "navigation", "console"}),
			"level": "info", "message": fmt.Sprintf("request %d of %s", r.IntN(100_000), k.breadcrumbTo),
			"data": object{"url": fmt.Sprintf("https://api.shop.example%s?item=%d", k.breadcrumbTo, r.IntN(100_000)), "method": "GET", "status_code": pick(r, []int{200, 200, 201, 404})},
		}
	}
	event := object{
		"event_id": id, "timestamp": at.Format(time.RFC3339Nano), "platform": k.platform.name, "level": pick(r, []string{"error", "error", "error", "warning", "fatal"}),
		"environment": pick(r, []string{"production", "production", "staging"}), "release": fmt.Sprintf("shop@1.%d.0", r.IntN(5)), "transaction": k.transaction,
		"server_name": fmt.Sprintf("web-%d", r.IntN(20)), "sdk": object{"name": k.platform.sdk, "version": "2.41.0"},
		"tags":     object{"region": pick(r, []string{"eu-west-1", "us-east-1"}), "customer": strconv.Itoa(user % 40), "service": k.module},
		"user":     object{"id": strconv.Itoa(user), "email": fmt.Sprintf("user%d@example.com", user), "ip_address": fmt.Sprintf("198.51.100.%d", user%250)},
		"contexts": object{"trace": object{"trace_id": fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()), "span_id": fmt.Sprintf("%016x", r.Uint64())}, "os": object{"name": "Linux", "version": "6.1.0"}, "runtime": object{"name": k.platform.name, "version": "3.13"}},
		"request": object{
			"url": "https://shop.example" + k.transaction, "method": "POST", "query_string": fmt.Sprintf("page=%d", r.IntN(100)),
			"headers": object{"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36", "Accept": "application/json", "X-Request-Id": fmt.Sprintf("%016x", r.Uint64())},
		},
		"exception": object{"values": []any{object{
			"type": k.kind, "value": value, "module": k.module, "mechanism": object{"type": "generic", "handled": false}, "stacktrace": object{"frames": k.frames},
		}}},
	}
	text, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("encode an event: %w", err)
	}
	// What is missing are breadcrumbs, of which real events have more or fewer.
	for size := len(text); size < envelopeBytes-450; {
		one := crumb(len(crumbs))
		crumbs = append(crumbs, one)
		encoded, err := json.Marshal(one)
		if err != nil {
			return nil, fmt.Errorf("encode an event: %w", err)
		}
		size += len(encoded) + 1
	}
	event["breadcrumbs"] = object{"values": crumbs}
	if text, err = json.Marshal(event); err != nil {
		return nil, fmt.Errorf("encode an event: %w", err)
	}
	return fmt.Appendf(nil, "{\"event_id\":%q,\"sent_at\":%q}\n{\"type\":\"event\",\"length\":%d}\n%s\n", id, at.Format(time.RFC3339Nano), len(text), text), nil
}
