package demo

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Purposes of random numbers; each has its own, so that one part of the story can change without
// the others.
const (
	forLogs = iota + 1
	forErrors
	forJobs
)

// severity is OpenTelemetry's number.
type severity int

const (
	debug severity = 5
	info  severity = 9
	warn  severity = 13
	fault severity = 17
	fatal severity = 21
)

func (s severity) String() string {
	switch s {
	case debug:
		return "debug"
	case info:
		return "info"
	case warn:
		return "warn"
	case fault:
		return "error"
	default:
		return "fatal"
	}
}

// line is one log record.
type line struct {
	at       time.Time
	service  string
	instance string
	severity severity
	body     string
	// attributes are pairs of key and value, in order; values are strings, ints or floats.
	attributes []any
	trace      []byte
	span       []byte
}

// The services; each has two instances.
const (
	web      = "web"
	checkout = "checkout"
	worker   = "worker"
)

var services = []string{web, checkout, worker}

var (
	products = []string{"waterproof-jacket", "trail-shoes", "wool-beanie", "head-torch", "camping-stove", "down-jacket", "hiking-poles", "tent-2p", "dry-bag-20l", "rope-60m"}
	agents   = []string{
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
	}
	countries = []string{"DE", "DE", "DE", "AT", "CH", "NL", "FR", "PL", "DK", "SE"}
	providers = []string{"stripe", "stripe", "stripe", "paypal", "klarna"}
	jobs      = []string{"send_receipt", "send_receipt", "resize_image", "update_search_index", "sync_inventory", "capture_payment", "notify_warehouse"}
	coupons   = []string{"WELCOME10", "BLACKFRIDAY", "SUMMER25", "VIP"}
)

// visitsPerSlot is how many visits leave log lines in a slot at a rate of 1; a visit has two or
// three lines.
const visitsPerSlot = 7

// logs returns the lines of a slot.
func (s *story) logs(slot int64) []line {
	at := slotTime(slot)
	r := s.chance(forLogs, slot)
	var out []line
	for range count(r, visitsPerSlot*s.traffic(at)*s.rate) {
		when := at.Add(time.Duration(r.Int64N(int64(slotLength))))
		out = append(out, s.visit(r, when)...)
	}
	for range count(r, 1.5*s.traffic(at)*s.rate) {
		when := at.Add(time.Duration(r.Int64N(int64(slotLength))))
		out = append(out, s.work(r, when)...)
	}
	return append(out, s.events(r, slot)...)
}

// visitor is who comes and with what trace.
type visitor struct {
	user  int
	trace []byte
}

func meet(r *rand.Rand) visitor { return visitor{10_000 + r.IntN(4000), randomBytes(r, 16)} }

func (v visitor) line(r *rand.Rand, at time.Time, service string, level severity, body string, attributes ...any) line {
	return line{
		at: at, service: service, instance: service + "-" + strconv.Itoa(1+v.user%2), severity: level, body: body,
		attributes: attributes, trace: v.trace, span: randomBytes(r, 8),
	}
}

// access is the line of a request that web answered.
func (v visitor) access(r *rand.Rand, at time.Time, method, route, path string, status int, took time.Duration) line {
	level := info
	switch {
	case status >= 500:
		level = fault
	case status >= 400:
		level = warn
	}
	return v.line(r, at, web, level, fmt.Sprintf("%s %s %d in %d ms", method, path, status, took.Milliseconds()),
		"http.request.method", method, "http.route", route, "url.path", path, "http.response.status_code", status,
		"duration_ms", took.Milliseconds(), "client.geo.country", pick(r, countries), "user_agent.original", pick(r, agents))
}

// milliseconds draws a duration with a long tail around a median.
func milliseconds(r *rand.Rand, median float64) time.Duration {
	return time.Duration(median * math.Exp(0.55*r.NormFloat64()) * float64(time.Millisecond))
}

// visit is one request to the shop with what the services say about it.
func (s *story) visit(r *rand.Rand, at time.Time) []line {
	v := meet(r)
	product := pick(r, products)
	took := milliseconds(r, 38)
	switch p := r.Float64(); {
	case p < 0.34:
		out := []line{v.access(r, at, "GET", "/products/{slug}", "/products/"+product, 200, took)}
		if r.Float64() < 0.3 {
			out = append(out, v.line(r, at.Add(-took/2), web, debug, "cache miss for product:"+product, "cache.key", "product:"+product, "cache.backend", "redis"))
		}
		return out
	case p < 0.52:
		results := r.IntN(80)
		out := []line{v.access(r, at, "GET", "/search", "/search?q="+product[:4], 200, 2*took)}
		if results == 0 {
			out = append(out, v.line(r, at, web, info, fmt.Sprintf("search for %q found nothing", product[:4]), "search.results", 0))
		}
		return out
	case p < 0.60:
		return []line{v.access(r, at, "GET", "/", "/", 200, took)}
	case p < 0.63:
		path := pick(r, []string{"/wp-login.php", "/.env", "/products/" + product + "-old", "/favicon.ico", "/.git/config"})
		return []line{v.access(r, at, "GET", "/{unmatched}", path, 404, took/8)}
	case p < 0.66:
		return []line{
			v.line(r, at, web, warn, fmt.Sprintf("sign-in failed for user %d: wrong password", v.user), "user.id", strconv.Itoa(v.user), "attempt", 1+r.IntN(4)),
			v.access(r, at, "POST", "/login", "/login", 401, 3*took),
		}
	case p < 0.80:
		return []line{
			v.access(r, at, "POST", "/cart/items", "/cart/items", 201, took),
			v.line(r, at.Add(-took/3), checkout, info, fmt.Sprintf("reserved 1 × %s for cart %d", product, v.user*7), "product.slug", product, "cart.id", v.user*7),
		}
	default:
		return s.order(r, at, v, product)
	}
}

// order is a checkout; with some releases many of them fail.
func (s *story) order(r *rand.Rand, at time.Time, v visitor, product string) []line {
	number := 180_000 + int(at.UnixMilli()/3500%90_000)
	provider := pick(r, providers)
	items, cents := 1+r.IntN(4), 1900+r.IntN(24_000)
	took := milliseconds(r, 210)
	out := []line{v.line(r, at, checkout, info, fmt.Sprintf("order %d received: %d items, %d.%02d EUR", number, items, cents/100, cents%100),
		"order.id", number, "order.items", items, "order.total_cents", cents, "user.id", strconv.Itoa(v.user))}
	switch {
	case s.release(at) == brokenRelease && r.Float64() < 0.42:
		out = append(out,
			v.line(r, at.Add(took/2), checkout, fault, fmt.Sprintf("order %d failed: insert: ERROR: column \"tip_cents\" of relation \"orders\" does not exist (SQLSTATE 42703)", number),
				"order.id", number, "exception.type", "*pgconn.PgError", "code.function", "orders.Insert", "code.filepath", "internal/orders/insert.go"),
			v.access(r, at.Add(took), "POST", "/checkout", "/checkout", 500, took))
	case s.release(at) == badRelease && r.Float64() < 0.42:
		took = 2 * took
		coupon := pick(r, coupons)
		out = append(out,
			v.line(r, at.Add(took/2), checkout, fault, fmt.Sprintf("order %d failed: panic in applyDiscount: runtime error: invalid memory address or nil pointer dereference", number),
				"order.id", number, "coupon.code", coupon, "exception.type", "runtime.Error", "code.function", "pricing.applyDiscount", "code.filepath", "internal/pricing/discount.go"),
			v.access(r, at.Add(took), "POST", "/checkout", "/checkout", 500, took))
	case r.Float64() < 0.015:
		took = 5 * time.Second
		out = append(out,
			v.line(r, at.Add(time.Second), checkout, warn, fmt.Sprintf("payment provider %s did not answer in 1 s, trying again (2 of 3)", provider), "payment.provider", provider, "order.id", number),
			v.line(r, at.Add(took), checkout, fault, fmt.Sprintf("payment for order %d failed: Post \"https://api.%s.example/v1/charges\": context deadline exceeded", number, provider), "payment.provider", provider, "order.id", number),
			v.access(r, at.Add(took), "POST", "/checkout", "/checkout", 503, took))
	case r.Float64() < 0.06:
		out = append(out,
			v.line(r, at.Add(took/2), checkout, warn, fmt.Sprintf("payment for order %d declined by %s: %s", number, provider, pick(r, []string{"insufficient_funds", "expired_card", "do_not_honor"})), "payment.provider", provider, "order.id", number),
			v.access(r, at.Add(took), "POST", "/checkout", "/checkout", 402, took))
	default:
		out = append(out,
			v.line(r, at.Add(took*2/3), checkout, info, fmt.Sprintf("payment for order %d authorised by %s in %d ms", number, provider, (took/2).Milliseconds()), "payment.provider", provider, "order.id", number, "duration_ms", (took/2).Milliseconds()),
			v.access(r, at.Add(took), "POST", "/checkout", "/checkout", 200, took),
			v.line(r, at.Add(took+time.Second), worker, info, fmt.Sprintf("job send_receipt for order %d done in %d ms", number, 40+r.IntN(200)), "job.name", "send_receipt", "order.id", number, "queue", "email"))
	}
	return out
}

// work is a background job of the worker.
func (s *story) work(r *rand.Rand, at time.Time) []line {
	v := meet(r)
	job := pick(r, jobs)
	// Short of memory, the worker spends its time collecting garbage.
	took := milliseconds(r, 90*(1+2*math.Pow(s.workerMemory(at)/workerLimit, 6)))
	out := []line{v.line(r, at, worker, info, fmt.Sprintf("job %s done in %d ms", job, took.Milliseconds()), "job.name", job, "job.id", hex.EncodeToString(v.trace[:6]), "duration_ms", took.Milliseconds(), "attempt", 1)}
	if r.Float64() < 0.03 {
		out = append(out, v.line(r, at.Add(took), worker, warn, fmt.Sprintf("job %s failed (attempt 1 of 5), next in 30 s: %s", job, pick(r, []string{"connection reset by peer", "HTTP 502 from upstream", "lock not acquired within 5 s"})), "job.name", job, "attempt", 1))
	}
	return out
}

// events are the lines that do not come from a visit: deploys, memory, housekeeping.
func (s *story) events(r *rand.Rand, slot int64) []line {
	at, end := slotTime(slot), slotTime(slot+1)
	var out []line
	say := func(service, instance string, level severity, body string, attributes ...any) {
		out = append(out, line{
			at: at.Add(time.Duration(r.Int64N(int64(slotLength)))), service: service, instance: instance,
			severity: level, body: body, attributes: attributes,
		})
	}
	for _, d := range s.deploys {
		if d.at.Before(at) || !d.at.Before(end) {
			continue
		}
		for _, service := range services {
			for _, instance := range []string{service + "-1", service + "-2"} {
				say(service, instance, info, "received SIGTERM, finishing requests", "signal", "SIGTERM")
				say(service, instance, info, fmt.Sprintf("%s %s listening on :8000", service, d.release), "release", d.release)
			}
		}
	}
	memory := s.workerMemory(at)
	if s.outOfMemory(slot) {
		say(worker, "worker-1", fatal, "out of memory: killed process 1 (python3), anon-rss 1048320 kB", "process.exit_code", 137)
		say(worker, "worker-1", info, "worker "+s.release(at)+" started, 8 threads", "release", s.release(at))
	} else if memory > 0.8*workerLimit && slot%12 == 0 {
		say(worker, "worker-1", warn, fmt.Sprintf("memory is at %d of 1024 MiB (%.0f %%)", int(memory/mebibyte), 100*memory/workerLimit), "process.memory.usage", int(memory))
	}
	if slot%12 == 3 {
		say(checkout, "checkout-1", debug, fmt.Sprintf("database pool: %d of 40 connections in use, %d idle", 6+r.IntN(14), r.IntN(6)), "db.pool", "orders")
	}
	if slot%60 == 7 {
		say(worker, "worker-2", info, fmt.Sprintf("queue email has %d jobs waiting, oldest %d s", r.IntN(40), r.IntN(20)), "queue", "email")
	}
	if r.Float64() < 0.004*s.rate {
		say(checkout, "checkout-2", warn, fmt.Sprintf("slow query (%d ms): SELECT * FROM orders WHERE user_id = $1 ORDER BY created_at DESC", 900+r.IntN(2400)), "db.system.name", "postgresql", "db.collection.name", "orders")
	}
	return out
}
