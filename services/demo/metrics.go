package demo

import (
	"math"
	"strconv"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// stepSlots is how many slots lie between two readings of the metrics.
const stepSlots = 6

const step = stepSlots * slotLength

// bounds of the histograms, in seconds.
var bounds = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

// route is one address of a service with its traffic in good times.
type route struct {
	service, method, path string
	perSecond             float64
	median                float64 // seconds
	// clientErrors and serverErrors are shares of the requests.
	clientErrors, serverErrors float64
	// badErrors is the share of server errors with the bad release.
	badErrors float64
}

var routes = []route{
	{web, "GET", "/", 14, 0.021, 0, 0.0003, 0.0003},
	{web, "GET", "/products/{slug}", 36, 0.034, 0.012, 0.0004, 0.0006},
	{web, "GET", "/search", 17, 0.062, 0.001, 0.0006, 0.0008},
	{web, "POST", "/cart/items", 6, 0.048, 0.004, 0.0008, 0.002},
	{web, "POST", "/checkout", 2.4, 0.23, 0.06, 0.002, 0.4},
	{checkout, "POST", "/v1/orders", 2.4, 0.19, 0.055, 0.002, 0.41},
	{checkout, "POST", "/v1/reservations", 6, 0.017, 0.003, 0.0005, 0.001},
	{checkout, "GET", "/v1/orders/{id}", 9, 0.011, 0.002, 0.0003, 0.0004},
}

// histogram is the memory of one series of requests, since its process began.
type histogram struct {
	buckets []uint64
	count   uint64
	sum     float64
}

// counterKey names a series that counts.
type counterKey struct {
	name     string
	instance string
	a, b, c  string
}

// meters makes the readings one after another; what counts up is remembered between them.
type meters struct {
	story      *story
	histograms map[counterKey]*histogram
	counters   map[counterKey]float64
	// started is when each process began, whose counters begin with it.
	started map[string]time.Time
}

func newMeters(s *story) *meters {
	return &meters{s, map[counterKey]*histogram{}, map[counterKey]float64{}, map[string]time.Time{}}
}

// reading is what one instance of a service says at one time.
type reading struct {
	at       time.Time
	service  string
	instance string
	release  string
	metrics  []*metricspb.Metric
}

// points counts the data points of a reading.
func (r reading) points() (n int) {
	for _, m := range r.metrics {
		n += len(m.GetGauge().GetDataPoints()) + len(m.GetSum().GetDataPoints()) + len(m.GetHistogram().GetDataPoints())
	}
	return n
}

// read returns the readings of all instances at the end of a step.
func (m *meters) read(at time.Time) []reading {
	var out []reading
	for _, service := range services {
		for n := 1; n <= 2; n++ {
			instance := service + "-" + strconv.Itoa(n)
			m.restart(service, instance, at)
			w := &writer{meters: m, at: at, instance: instance, key: uint64(len(out) + 1)}
			w.process(service, n)
			switch service {
			case worker:
				w.worker(n)
			default:
				w.requests(service)
			}
			if service == checkout {
				w.orders()
			}
			out = append(out, reading{at, service, instance, m.story.release(at), w.out})
		}
	}
	return out
}

// restart forgets the counts of a process that began since the last reading.
func (m *meters) restart(service, instance string, at time.Time) {
	began := m.story.deployed(at).at
	if service == worker && instance == worker+"-1" {
		began = m.story.workerStart(at)
	}
	if m.started[instance].Equal(began) {
		return
	}
	m.started[instance] = began
	for k := range m.histograms {
		if k.instance == instance {
			delete(m.histograms, k)
		}
	}
	for k := range m.counters {
		if k.instance == instance {
			delete(m.counters, k)
		}
	}
}

// writer collects the metrics of one reading.
type writer struct {
	*meters
	at       time.Time
	instance string
	key      uint64
	out      []*metricspb.Metric
}

func (w *writer) noise(offset uint64) float64 {
	return w.story.noise(w.key<<16|offset, w.at.Unix())
}

func (w *writer) process(service string, n int) {
	base := map[string]float64{web: 310 * mebibyte, checkout: 96 * mebibyte, worker: 260 * mebibyte}[service]
	age := w.at.Sub(w.started[w.instance]).Hours()
	memory := base * (1 + 0.12*(1-math.Exp(-age)) + 0.02*w.noise(1))
	cpu := map[string]float64{web: 0.34, checkout: 0.16, worker: 0.22}[service] * w.story.traffic(w.at) * (1 + 0.1*w.noise(2))
	if service == worker && n == 1 {
		memory = w.story.workerMemory(w.at) * (1 + 0.01*w.noise(1))
		cpu *= 1 + 1.8*math.Pow(w.story.workerMemory(w.at)/workerLimit, 6)
	}
	w.gauge("process.memory.usage", "By", "Memory that the process holds", memory)
	w.gauge("process.cpu.utilization", "1", "Share of one CPU", min(cpu, 1))
	w.gauge("process.thread.count", "{thread}", "Threads of the process", math.Round(18+4*w.noise(3)))
	w.gauge("system.filesystem.utilization", "1", "Used share of a file system", 0.41+0.05*float64(n)+0.004*w.at.Sub(w.story.begin).Hours()+0.002*w.noise(4), "system.filesystem.mountpoint", "/")
	if service != web {
		w.gauge("system.filesystem.utilization", "1", "Used share of a file system", 0.63+0.011*w.at.Sub(w.story.begin).Hours()+0.002*w.noise(5), "system.filesystem.mountpoint", "/var/lib/data")
	}
}

func (w *writer) requests(service string) {
	var points []*metricspb.HistogramDataPoint
	bad := w.story.bad(w.at)
	for i, r := range routes {
		if r.service != service {
			continue
		}
		rate := r.perSecond / 2 * w.story.traffic(w.at) * (1 + 0.08*w.noise(uint64(100+10*i)))
		failed, slower := r.serverErrors, 1.0
		if bad {
			failed = r.badErrors
			if failed > 0.1 {
				slower = 1.9
			}
		}
		for _, outcome := range []struct {
			status int
			share  float64
			median float64
		}{
			{200, 1 - failed - r.clientErrors, r.median * slower},
			{clientStatus(r), r.clientErrors, r.median / 3},
			{500, failed, r.median * 1.4 * slower},
		} {
			key := counterKey{"http.server.request.duration", w.instance, r.method, r.path, strconv.Itoa(outcome.status)}
			mean := rate * step.Seconds() * outcome.share
			// What happens rarely happens now and then, not in fractions.
			n := math.Floor(mean + 0.5 + 0.5*w.noise(uint64(101+10*i+outcome.status)))
			if n <= 0 && w.histograms[key] == nil {
				continue
			}
			points = append(points, w.observe(key, uint64(max(n, 0)), outcome.median*(1+0.06*w.noise(uint64(102+10*i))),
				"http.request.method", r.method, "http.route", r.path, "http.response.status_code", outcome.status))
		}
	}
	w.out = append(w.out, &metricspb.Metric{
		Name: "http.server.request.duration", Unit: "s", Description: "Duration of HTTP server requests",
		Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
			AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, DataPoints: points,
		}},
	})
	w.gauge("http.server.active_requests", "{request}", "Requests that are being answered", math.Round(max(0, 3*w.story.traffic(w.at)+2*w.noise(6))))
}

func clientStatus(r route) int {
	if r.path == "/checkout" || r.path == "/v1/orders" {
		return 402
	}
	return 404
}

// observe adds n requests with a long tail around a median to a histogram.
func (w *writer) observe(key counterKey, n uint64, median float64, attributes ...any) *metricspb.HistogramDataPoint {
	h := w.histograms[key]
	if h == nil {
		h = &histogram{buckets: make([]uint64, len(bounds)+1)}
		w.histograms[key] = h
	}
	const sigma = 0.55
	var below uint64
	for i := range h.buckets {
		upTo := n
		if i < len(bounds) {
			share := 0.5 * math.Erfc(-math.Log(bounds[i]/median)/(sigma*math.Sqrt2))
			upTo = max(below, uint64(math.Round(float64(n)*share)))
		}
		h.buckets[i] += upTo - below
		below = upTo
	}
	h.count += n
	h.sum += float64(n) * median * math.Exp(sigma*sigma/2)
	buckets := make([]uint64, len(h.buckets))
	copy(buckets, h.buckets)
	sum := h.sum
	return &metricspb.HistogramDataPoint{
		Attributes: keyValues(attributes), StartTimeUnixNano: w.start(), TimeUnixNano: uint64(w.at.UnixNano()),
		Count: h.count, Sum: &sum, BucketCounts: buckets, ExplicitBounds: bounds,
	}
}

func (w *writer) orders() {
	lost := 0.0
	if w.story.bad(w.at) {
		lost = 0.41
	}
	for i, provider := range []string{"stripe", "paypal", "klarna"} {
		n := math.Round([]float64{0.6, 0.25, 0.15}[i] * 1.1 * w.story.traffic(w.at) * step.Seconds() * (1 - lost) * (1 + 0.15*w.noise(uint64(200+i))))
		w.sum("shop.orders", "{order}", "Orders that were paid", n, "payment.provider", provider)
		w.sum("shop.revenue", "EUR", "Revenue of paid orders", math.Round(n*8450*(1+0.1*w.noise(uint64(210+i))))/100, "payment.provider", provider)
	}
	w.gauge("db.client.connection.count", "{connection}", "Connections to the database", math.Round(11+5*w.story.traffic(w.at)*(1+0.3*w.noise(220))), "db.client.connection.state", "used", "db.client.connection.pool.name", "orders")
	w.gauge("db.client.connection.count", "{connection}", "Connections to the database", math.Round(6+3*w.noise(221)), "db.client.connection.state", "idle", "db.client.connection.pool.name", "orders")
}

func (w *writer) worker(n int) {
	pressure := 1.0
	if n == 1 {
		pressure = 1 + 8*math.Pow(w.story.workerMemory(w.at)/workerLimit, 8)
	}
	for i, queue := range []string{"email", "images", "payments"} {
		if n == 1 {
			w.gauge("queue.depth", "{job}", "Jobs that wait", math.Round(max(0, float64(8+6*i)*pressure*w.story.traffic(w.at)*(1+0.4*w.noise(uint64(300+i))))), "queue", queue)
		}
		done := math.Round(float64(60-15*i) * w.story.traffic(w.at) / math.Sqrt(pressure) * (1 + 0.1*w.noise(uint64(310+i))))
		w.sum("worker.jobs", "{job}", "Jobs that were finished", done, "queue", queue, "outcome", "done")
		w.sum("worker.jobs", "{job}", "Jobs that were finished", math.Floor(done*0.03*(1+w.noise(uint64(320+i)))), "queue", queue, "outcome", "failed")
	}
}

func (w *writer) start() uint64 { return uint64(w.started[w.instance].UnixNano()) }

func (w *writer) point(value float64, attributes []any) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{
		Attributes: keyValues(attributes), TimeUnixNano: uint64(w.at.UnixNano()),
		Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: value},
	}
}

// metric returns the metric of this name if there is one already.
func (w *writer) metric(name string) *metricspb.Metric {
	for _, m := range w.out {
		if m.GetName() == name {
			return m
		}
	}
	return nil
}

func (w *writer) gauge(name, unit, description string, value float64, attributes ...any) {
	point := w.point(value, attributes)
	if m := w.metric(name); m != nil {
		m.GetGauge().DataPoints = append(m.GetGauge().DataPoints, point)
		return
	}
	w.out = append(w.out, &metricspb.Metric{
		Name: name, Unit: unit, Description: description,
		Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: []*metricspb.NumberDataPoint{point}}},
	})
}

// sum adds to a counter and writes what it has come to.
func (w *writer) sum(name, unit, description string, add float64, attributes ...any) {
	key := counterKey{name: name, instance: w.instance}
	for i, target := range []*string{&key.a, &key.b} {
		if 2*i+1 < len(attributes) {
			*target, _ = attributes[2*i+1].(string)
		}
	}
	w.counters[key] += add
	point := w.point(w.counters[key], attributes)
	point.StartTimeUnixNano = w.start()
	if m := w.metric(name); m != nil {
		m.GetSum().DataPoints = append(m.GetSum().DataPoints, point)
		return
	}
	w.out = append(w.out, &metricspb.Metric{
		Name: name, Unit: unit, Description: description,
		Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{
			AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
			IsMonotonic:            true, DataPoints: []*metricspb.NumberDataPoint{point},
		}},
	})
}

// keyValues turns pairs of key and value into OTLP attributes.
func keyValues(pairs []any) []*commonpb.KeyValue {
	out := make([]*commonpb.KeyValue, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		key, _ := pairs[i].(string)
		v := &commonpb.AnyValue{}
		switch value := pairs[i+1].(type) {
		case string:
			v.Value = &commonpb.AnyValue_StringValue{StringValue: value}
		case int:
			v.Value = &commonpb.AnyValue_IntValue{IntValue: int64(value)}
		case int64:
			v.Value = &commonpb.AnyValue_IntValue{IntValue: value}
		case float64:
			v.Value = &commonpb.AnyValue_DoubleValue{DoubleValue: value}
		}
		out = append(out, &commonpb.KeyValue{Key: key, Value: v})
	}
	return out
}
