package otlp

import (
	"errors"
	"fmt"
	"strconv"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
)

// Logs converts the records of a request, one group for each scope of each resource that has any:
// those of the same words are put together, however often a request repeats them. The groups
// share memory with the request.
func Logs(req *collogspb.ExportLogsServiceRequest, w record.Window) ([]*telemetrypb.LogGroup, *Rejections) {
	c := logConverter{
		window: w, now: uint64(w.Now.UnixNano()),
		resources: map[string]int{},
		open:      map[logGroupKey]*telemetrypb.LogGroup{},
	}
	for _, rl := range req.GetResourceLogs() {
		service, resource := c.resource(rl.GetResource())
		words := string(appendWords(nil, service, resource))
		number, ok := c.resources[words]
		if !ok {
			number = len(c.resources)
			c.resources[words] = number
		}
		for _, sl := range rl.GetScopeLogs() {
			if len(sl.GetLogRecords()) == 0 {
				continue
			}
			name := record.Clip(sl.GetScope().GetName(), record.MaxNameBytes)
			own := c.scope(sl.GetScope())
			key := logGroupKey{number, string(appendWords(nil, name, own))}
			group := c.open[key]
			if group == nil {
				size := len(service) + len(name) + sizeOf(resource) + sizeOf(own)
				if c.size+size > maxOutputBytes {
					c.tooLarge(len(sl.GetLogRecords()))
					continue
				}
				c.size += size
				group = &telemetrypb.LogGroup{Service: service, Scope: name, Resource: c.join(resource, own)}
				c.open[key] = group
			}
			records := c.records(sl.GetLogRecords())
			if len(records) > 0 && len(group.Records) == 0 {
				c.groups = append(c.groups, group)
			}
			group.Records = append(group.Records, records...)
		}
	}
	return c.groups, &c.rejections
}

// logGroupKey is what the records of a group have in common.
type logGroupKey struct {
	resource int // the number of its words in logConverter.resources
	scope    string
}

type logConverter struct {
	window     record.Window
	now        uint64
	lists      record.Lists
	resources  map[string]int
	open       map[logGroupKey]*telemetrypb.LogGroup
	groups     []*telemetrypb.LogGroup
	size       int // of groups, about
	rejections Rejections
}

// appendWords writes a name and attributes so that only equal ones are written equally.
func appendWords(b []byte, name string, attributes []*telemetrypb.KeyValue) []byte {
	b = protowire.AppendString(b, name)
	for _, kv := range attributes {
		b = protowire.AppendString(b, kv.Key)
		b = protowire.AppendString(b, kv.Value)
	}
	return b
}

func (c *logConverter) tooLarge(n int) {
	c.rejections.add(int64(n), "too_large", fmt.Sprintf("the records of this request come to more than %d MiB with what they share, send smaller batches", maxOutputBytes>>20))
}

// resource returns the name of the service and the other attributes.
func (c *logConverter) resource(r *resourcepb.Resource) (service string, attributes []*telemetrypb.KeyValue) {
	for _, kv := range r.GetAttributes() {
		if kv.Key == "service.name" {
			service = record.Clip(text(kv.Value, record.MaxDepth), record.MaxNameBytes)
			continue
		}
		flatten(&c.lists, kv.Key, kv.Value, record.MaxDepth)
	}
	return service, c.lists.CloseShared()
}

// scope returns what there is of a scope besides its name.
func (c *logConverter) scope(s *commonpb.InstrumentationScope) []*telemetrypb.KeyValue {
	if v := s.GetVersion(); v != "" {
		c.lists.Set("otel.scope.version", v)
	}
	for _, kv := range s.GetAttributes() {
		flatten(&c.lists, "otel.scope."+kv.Key, kv.Value, record.MaxDepth)
	}
	return c.lists.CloseShared()
}

// join adds what is of a scope to the attributes of its resource.
func (c *logConverter) join(resource, scope []*telemetrypb.KeyValue) []*telemetrypb.KeyValue {
	if len(scope) == 0 {
		return resource
	}
	for _, kv := range resource {
		c.lists.Set(kv.Key, kv.Value)
	}
	for _, kv := range scope {
		c.lists.Set(kv.Key, kv.Value)
	}
	return c.lists.CloseShared()
}

func (c *logConverter) records(in []*logspb.LogRecord) []*telemetrypb.LogRecord {
	space := make([]telemetrypb.LogRecord, len(in))
	out := make([]*telemetrypb.LogRecord, 0, len(in))
	for i, r := range in {
		to := &space[i]
		if err := c.record(to, r); err != nil {
			var t *record.TimeError
			errors.As(err, &t)
			c.rejections.add(1, t.Reason(), err.Error())
			continue
		}
		size := 64 + len(to.SeverityText) + len(to.Body) + sizeOf(to.Attributes)
		if c.size+size > maxOutputBytes {
			c.tooLarge(len(in) - i)
			return out
		}
		c.size += size
		out = append(out, to)
	}
	return out
}

// record converts one record; the only error is a *record.TimeError.
func (c *logConverter) record(to *telemetrypb.LogRecord, r *logspb.LogRecord) error {
	to.ObservedTime = r.GetObservedTimeUnixNano()
	to.Time = r.GetTimeUnixNano()
	if to.Time == 0 {
		to.Time = to.ObservedTime
	}
	if to.Time == 0 {
		to.Time = c.now
	}
	if err := c.window.Check(to.Time); err != nil {
		return err
	}
	to.SeverityText = record.Clip(r.GetSeverityText(), 64)
	if n := r.GetSeverityNumber(); 1 <= n && n <= 24 {
		to.Severity = uint32(n)
	} else if n, ok := record.Severity(r.GetSeverityText()); ok {
		to.Severity = n
	}
	if len(r.GetTraceId()) == 16 && !allZero(r.GetTraceId()) {
		to.TraceId = r.GetTraceId()
	}
	if len(r.GetSpanId()) == 8 && !allZero(r.GetSpanId()) {
		to.SpanId = r.GetSpanId()
	}
	for _, kv := range r.GetAttributes() {
		flatten(&c.lists, kv.GetKey(), kv.GetValue(), record.MaxDepth)
	}
	if name := r.GetEventName(); name != "" {
		c.lists.Set("event.name", name)
	}
	body := text(r.GetBody(), record.MaxDepth)
	for _, kv := range r.GetBody().GetKvlistValue().GetValues() {
		// The members of a structured body can be searched as attributes can.
		if scalar(kv.GetValue()) && !c.lists.Has(kv.GetKey()) {
			c.lists.Set(kv.GetKey(), text(kv.GetValue(), 0))
		}
	}
	if len(body) > record.MaxBodyBytes {
		c.lists.Set(record.CutBody, strconv.Itoa(len(body)))
		body = record.Clip(body, record.MaxBodyBytes)
	}
	to.Body = body
	to.Attributes = c.lists.Close()
	return nil
}

func scalar(v *commonpb.AnyValue) bool {
	switch v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue, *commonpb.AnyValue_BoolValue, *commonpb.AnyValue_IntValue, *commonpb.AnyValue_DoubleValue:
		return true
	}
	return false
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
