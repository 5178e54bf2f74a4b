package demo

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// frame is one call of a stack trace, outermost first.
type frame struct {
	file, module, function string
	line                   int
	context                string
	before, after          []string
	library                bool
}

// issue is one kind of error that the shop has.
type issue struct {
	// perHour is how often it happens, perHourIn how often besides while a release serves.
	perHour   float64
	perHourIn map[string]float64
	// atDeploys is how often it happens in each slot of the minute after a deploy.
	atDeploys float64

	platform, level, service string
	kind, value              string
	// message is for an event without an exception.
	message     string
	transaction string
	logger      string
	frames      []frame
	handled     bool
	// vary fills in the parts of value, message or transaction that differ from event to event.
	vary func(r *rand.Rand) []any
}

// issues are the kinds of errors of the shop.
func issues() []issue {
	none := func(*rand.Rand) []any { return nil }
	return []issue{
		{
			perHourIn: map[string]float64{badRelease: 620}, platform: "go", level: "error", service: checkout, transaction: "POST /checkout", vary: none,
			kind: "runtime.Error", value: "runtime error: invalid memory address or nil pointer dereference",
			frames: []frame{
				{file: "net/http/server.go", module: "net/http", function: "(*conn).serve", line: 2092, library: true},
				{file: "internal/api/checkout.go", module: "shop/checkout/internal/api", function: "(*Handler).PlaceOrder", line: 88, context: "\ttotal, err := h.pricing.Total(ctx, cart)"},
				{file: "internal/pricing/total.go", module: "shop/checkout/internal/pricing", function: "(*Service).Total", line: 41, context: "\t\tsum = s.applyDiscount(sum, cart.Coupon)"},
				{
					file: "internal/pricing/discount.go", module: "shop/checkout/internal/pricing", function: "(*Service).applyDiscount", line: 23,
					before:  []string{"func (s *Service) applyDiscount(sum Money, c *Coupon) Money {", "\t// 1.42.0: coupons of partners have no campaign"},
					context: "\tif c.Campaign.EndsAt.Before(s.now()) {",
					after:   []string{"\t\treturn sum", "\t}"},
				},
			},
		},
		{
			perHourIn: map[string]float64{brokenRelease: 580}, platform: "go", level: "error", service: checkout, transaction: "POST /checkout", vary: none,
			kind: "*pgconn.PgError", value: "ERROR: column \"tip_cents\" of relation \"orders\" does not exist (SQLSTATE 42703)",
			frames: []frame{
				{file: "net/http/server.go", module: "net/http", function: "(*conn).serve", line: 2092, library: true},
				{file: "internal/api/checkout.go", module: "shop/checkout/internal/api", function: "(*Handler).PlaceOrder", line: 96, context: "\tif err := h.orders.Insert(ctx, order); err != nil {"},
				{
					file: "internal/orders/insert.go", module: "shop/checkout/internal/orders", function: "(*Store).Insert", line: 34,
					before:  []string{"\t// 1.43.0: tips for the courier"},
					context: "\t_, err := tx.Exec(ctx, `INSERT INTO orders (id, total_cents, tip_cents) VALUES ($1, $2, $3)`, o.ID, o.TotalCents, o.TipCents)",
					after:   []string{"\treturn err", "}"},
				},
			},
		},
		{
			perHourIn: map[string]float64{badRelease: 330, brokenRelease: 330}, platform: "javascript", level: "error", service: web, transaction: "/checkout", vary: none,
			kind: "TypeError", value: "Cannot read properties of undefined (reading 'total')",
			frames: []frame{
				{file: "https://shop.example/static/vendor.8c1f.js", function: "HTMLUnknownElement.callCallback", line: 1, library: true},
				{file: "https://shop.example/static/checkout.41d7.js", function: "onSubmit", line: 212, context: "    const order = await placeOrder(cart);"},
				{
					file: "https://shop.example/static/checkout.41d7.js", function: "showSummary", line: 187,
					before: []string{"  function showSummary(response) {", "    const el = document.querySelector('#summary');"}, context: "    el.textContent = money(response.order.total);",
					after: []string{"    el.hidden = false;", "  }"},
				},
			},
		},
		{
			perHour: 19, platform: "python", level: "error", service: worker, transaction: "capture_payment", handled: true,
			kind: "ConnectTimeout", value: "HTTPSConnectionPool(host='api.%s.example', port=443): Max retries exceeded with url: /v1/captures (connect timeout=5)",
			vary: func(r *rand.Rand) []any { return []any{pick(r, []string{"stripe", "paypal"})} },
			frames: []frame{
				{file: "shop/jobs/run.py", module: "shop.jobs.run", function: "run_job", line: 64, context: "        result = job.handler(**job.arguments)"},
				{file: "shop/payments/capture.py", module: "shop.payments.capture", function: "capture_payment", line: 31, context: "    response = session.post(url, json=body, timeout=5)"},
				{file: "requests/adapters.py", module: "requests.adapters", function: "send", line: 688, library: true, context: "                raise ConnectTimeout(e, request=request)"},
			},
		},
		{
			perHour: 26, platform: "go", level: "error", service: checkout, transaction: "POST /checkout", handled: true,
			kind: "*url.Error", value: "Post \"https://api.%s.example/v1/charges\": context deadline exceeded",
			vary: func(r *rand.Rand) []any { return []any{pick(r, providers)} },
			frames: []frame{
				{file: "internal/api/checkout.go", module: "shop/checkout/internal/api", function: "(*Handler).PlaceOrder", line: 112, context: "\tcharge, err := h.payments.Charge(ctx, order)"},
				{file: "internal/payments/client.go", module: "shop/checkout/internal/payments", function: "(*Client).Charge", line: 57, context: "\t\treturn nil, fmt.Errorf(\"charge order %d: %w\", order.ID, err)"},
			},
		},
		{
			perHour: 4, platform: "go", level: "error", service: checkout, transaction: "POST /cart/items", vary: none,
			kind: "*pgconn.PgError", value: "ERROR: deadlock detected (SQLSTATE 40P01)",
			frames: []frame{
				{file: "internal/api/cart.go", module: "shop/checkout/internal/api", function: "(*Handler).AddItem", line: 46, context: "\tif err := h.stock.Reserve(ctx, item); err != nil {"},
				{file: "internal/stock/reserve.go", module: "shop/checkout/internal/stock", function: "(*Service).Reserve", line: 29, context: "\t_, err := tx.Exec(ctx, `UPDATE stock SET reserved = reserved + $2 WHERE sku = $1`, sku, n)"},
			},
		},
		{
			perHour: 9, platform: "javascript", level: "error", service: web, transaction: "/products/:slug", atDeploys: 2.2,
			kind: "ChunkLoadError", value: "Loading chunk %d failed. (error: https://shop.example/static/%d.js)",
			vary: func(r *rand.Rand) []any { n := 200 + r.IntN(8); return []any{n, n} },
			frames: []frame{
				{file: "https://shop.example/static/runtime.77aa.js", function: "__webpack_require__.f.j", line: 1, library: true},
				{file: "https://shop.example/static/app.52b0.js", function: "loadGallery", line: 94, context: "  const { Gallery } = await import('./gallery');"},
			},
		},
		{
			perHour: 14, platform: "node", level: "warning", service: web, transaction: "GET /account/orders", vary: none, handled: true,
			kind: "UnauthorizedError", value: "jwt expired",
			frames: []frame{
				{file: "/app/node_modules/express/lib/router/layer.js", function: "Layer.handle", line: 95, library: true},
				{file: "/app/src/middleware/session.ts", function: "requireSession", line: 38, context: "    throw new UnauthorizedError(error.message);"},
			},
		},
		{
			perHour: 11, platform: "python", level: "error", service: worker, transaction: "sync_inventory",
			kind: "KeyError", value: "'%s'", vary: func(r *rand.Rand) []any { return []any{pick(r, []string{"sku", "ean"})} },
			frames: []frame{
				{file: "shop/jobs/run.py", module: "shop.jobs.run", function: "run_job", line: 64, context: "        result = job.handler(**job.arguments)"},
				{file: "shop/inventory/sync.py", module: "shop.inventory.sync", function: "merge", line: 118, before: []string{"    for row in rows:"}, context: "        stock[row['sku']] += row['quantity']", after: []string{"    return stock"}},
			},
		},
		{
			perHour: 2.5, platform: "python", level: "error", service: worker, transaction: "newsletter", vary: none,
			kind: "UnicodeDecodeError", value: "'utf-8' codec can't decode byte 0xe4 in position 14: invalid continuation byte",
			frames: []frame{
				{file: "shop/mail/render.py", module: "shop.mail.render", function: "subject", line: 22, context: "    return raw.decode(\"utf-8\")"},
			},
		},
		{
			perHour: 6, platform: "java", level: "error", service: "android-app", transaction: "CartFragment", vary: none,
			kind: "IllegalStateException", value: "Fragment CartFragment{5c3a1b} not attached to a context.",
			frames: []frame{
				{file: "Handler.java", module: "android.os.Handler", function: "dispatchMessage", line: 106, library: true},
				{file: "CartFragment.kt", module: "example.shop.cart.CartFragment", function: "showTotal", line: 71, context: "        total.text = requireContext().getString(R.string.total, sum)"},
			},
		},
		{
			perHour: 5, platform: "go", level: "warning", service: checkout, transaction: "GET /account/orders", logger: "orders",
			message: "slow query: orders by user took %d ms", vary: func(r *rand.Rand) []any { return []any{900 + r.IntN(2400)} },
		},
		{
			platform: "python", level: "fatal", service: worker, transaction: "worker", vary: none,
			kind: "MemoryError", value: "cannot allocate 16777216 bytes",
			frames: []frame{
				{file: "shop/images/resize.py", module: "shop.images.resize", function: "resize_image", line: 47, context: "    buffer = bytearray(width * height * 4)"},
			},
		},
	}
}

// outOfMemoryKind is the type of the issue that happens when the worker dies.
const outOfMemoryKind = "MemoryError"

// event is one error as an SDK sends it: its id and the event as JSON.
type event struct {
	id   string
	json []byte
}

// errors returns the events of a slot.
func (s *story) errors(slot int64) ([]event, error) {
	at := slotTime(slot)
	r := s.chance(forErrors, slot)
	var out []event
	for _, kind := range s.issues {
		mean := (kind.perHour + kind.perHourIn[s.release(at)]) * s.traffic(at) * s.rate * slotLength.Hours()
		if s.rolling(at) {
			mean += kind.atDeploys * s.rate
		}
		n := count(r, mean)
		if kind.kind == outOfMemoryKind && s.outOfMemory(slot) {
			n = 3
		}
		for range n {
			e, err := s.event(r, kind, at.Add(time.Duration(r.Int64N(int64(slotLength)))))
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// object is a JSON object; encoding/json sorts its keys, so that its bytes are always the same.
type object = map[string]any

func (s *story) event(r *rand.Rand, kind issue, at time.Time) (event, error) {
	v := meet(r)
	id := hex.EncodeToString(randomBytes(r, 16))
	fill := func(format string) string {
		if args := kind.vary(r); len(args) > 0 {
			return fmt.Sprintf(format, args...)
		}
		return format
	}
	instance := kind.service + "-" + strconv.Itoa(1+v.user%2)
	if kind.kind == outOfMemoryKind {
		instance = worker + "-1"
	}
	e := object{
		"event_id": id, "timestamp": at.Format(time.RFC3339Nano), "platform": kind.platform, "level": kind.level,
		"environment": environment, "release": s.release(at), "transaction": kind.transaction,
		"sdk":  object{"name": "sentry." + kind.platform, "version": "10.4.0"},
		"tags": object{"service": kind.service, "region": pick(r, []string{"eu-central-1", "eu-west-1"})},
		"contexts": object{
			"trace":   object{"trace_id": hex.EncodeToString(v.trace), "span_id": hex.EncodeToString(randomBytes(r, 8)), "op": "http.server"},
			"runtime": runtimeOf(kind.platform),
		},
	}
	if kind.logger != "" {
		e["logger"] = kind.logger
	}
	if kind.message != "" {
		e["message"] = object{"formatted": fill(kind.message)}
	} else {
		e["exception"] = object{"values": []any{object{
			"type": kind.kind, "value": fill(kind.value), "mechanism": object{"type": "generic", "handled": kind.handled},
			"stacktrace": object{"frames": frames(kind.frames)},
		}}}
	}
	if kind.service == worker {
		e["server_name"] = instance
		e["breadcrumbs"] = object{"values": workerCrumbs(r, at, kind)}
		return encodeEvent(id, e)
	}
	e["user"] = object{"id": strconv.Itoa(v.user), "email": fmt.Sprintf("customer%d@example.com", v.user), "ip_address": fmt.Sprintf("198.51.100.%d", v.user%250)}
	e["breadcrumbs"] = object{"values": visitorCrumbs(r, at, kind)}
	agent := pick(r, agents)
	if kind.platform != "java" {
		e["request"] = object{
			"url": "https://shop.example/checkout", "method": "POST",
			"headers": []any{[]any{"User-Agent", agent}, []any{"Accept-Language", "de-DE,de;q=0.9"}},
		}
	}
	if kind.platform != "javascript" && kind.platform != "java" {
		e["server_name"] = instance
	}
	return encodeEvent(id, e)
}

func encodeEvent(id string, e object) (event, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return event{}, fmt.Errorf("encode event: %w", err)
	}
	return event{id, text}, nil
}

func runtimeOf(platform string) object {
	switch platform {
	case "python":
		return object{"name": "CPython", "version": "3.13.5"}
	case "go":
		return object{"name": "go", "version": "go1.26.8"}
	case "java":
		return object{"name": "Android Runtime", "version": "2.1.0"}
	case "node":
		return object{"name": "node", "version": "v22.11.0"}
	default:
		return object{"name": "browser", "version": ""}
	}
}

func frames(calls []frame) []any {
	out := make([]any, 0, len(calls))
	for _, c := range calls {
		f := object{"filename": c.file, "function": c.function, "lineno": c.line, "in_app": !c.library}
		if c.module != "" {
			f["module"] = c.module
		}
		if c.context != "" {
			f["context_line"] = c.context
		}
		if c.before != nil {
			f["pre_context"] = c.before
		}
		if c.after != nil {
			f["post_context"] = c.after
		}
		out = append(out, f)
	}
	return out
}

func crumb(at time.Time, category, level, message string, data object) object {
	c := object{"timestamp": at.Format(time.RFC3339Nano), "category": category, "level": level, "type": "default", "message": message}
	if data != nil {
		c["type"] = "http"
		c["data"] = data
	}
	return c
}

func visitorCrumbs(r *rand.Rand, at time.Time, kind issue) []any {
	product := pick(r, products)
	return []any{
		crumb(at.Add(-94*time.Second), "navigation", "info", "/ → /products/"+product, nil),
		crumb(at.Add(-61*time.Second), "ui.click", "info", "button.add-to-cart", nil),
		crumb(at.Add(-60*time.Second), "http", "info", "", object{"method": "POST", "url": "/cart/items", "status_code": 201}),
		crumb(at.Add(-22*time.Second), "navigation", "info", "/products/"+product+" → /checkout", nil),
		crumb(at.Add(-20*time.Second), "http", "info", "", object{"method": "GET", "url": "/api/shipping", "status_code": 200}),
		crumb(at.Add(-2*time.Second), "ui.click", "info", "button#"+pick(r, []string{"pay", "apply-coupon"}), nil),
		crumb(at.Add(-300*time.Millisecond), "console", kind.level, "request failed, see response", nil),
	}
}

func workerCrumbs(r *rand.Rand, at time.Time, kind issue) []any {
	return []any{
		crumb(at.Add(-9*time.Second), "queue", "info", fmt.Sprintf("took job %s-%d from queue default", kind.transaction, r.IntN(100_000)), nil),
		crumb(at.Add(-8*time.Second), "query", "info", "SELECT * FROM jobs WHERE id = $1 FOR UPDATE", nil),
		crumb(at.Add(-5*time.Second), "http", "info", "", object{"method": "GET", "url": "https://warehouse.example/v2/stock", "status_code": 200}),
	}
}
