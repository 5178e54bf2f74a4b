package telemetry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/retention"
)

// texts are the strings of a column.
func (c *textColumn) texts(t testing.TB) (all []string) {
	t.Helper()
	for rest := c.buf; len(rest) > 0; {
		value, n := protowire.ConsumeBytes(rest)
		if n < 0 {
			t.Fatal("a column of texts is broken")
		}
		all, rest = append(all, string(value)), rest[n:]
	}
	return all
}

// showLogs writes the rows of a block.
func showLogs(t testing.TB, b *LogBlock) string {
	t.Helper()
	var out strings.Builder
	word := func(c *dictColumn, i int) string { return c.names[c.keys[i]] }
	bodies, values, pair := b.body.texts(t), b.attribute.values.texts(t), 0
	for i := range b.Rows() {
		fmt.Fprintf(&out, "%d %d %d %d %d %q %d %q %q %q %q %x %x", b.project[i], b.day.ColUInt16[i], b.retention.ColUInt16[i], b.at.ColInt64[i], b.observed.ColInt64[i],
			word(&b.service, i), b.severity[i], word(&b.sevText, i), word(&b.scope, i), bodies[i], word(&b.resource, i), b.trace.buf[16*i:16*i+16], b.span.buf[8*i:8*i+8])
		for ; pair < int(b.attribute.offsets[i]); pair++ {
			fmt.Fprintf(&out, " %q=%q", word(&b.attribute.keys, pair), values[pair])
		}
		out.WriteByte('\n')
	}
	if pair != len(b.attribute.keys.keys) || pair != b.attribute.values.rows || b.body.rows != b.Rows() {
		t.Errorf("%d attributes are in rows, %d keys and %d values in the block", pair, len(b.attribute.keys.keys), b.attribute.values.rows)
	}
	return out.String()
}

// showLogFrame is showLogs of a frame that protobuf's own decoder has read.
func showLogFrame(f *telemetrypb.LogFrame) string {
	var out strings.Builder
	id := func(size int, v []byte) []byte {
		if len(v) != size {
			return make([]byte, size)
		}
		return v
	}
	quoted := func(s string) string {
		b, _ := json.Marshal(s) // of a string there is no error
		return string(b)
	}
	for _, batch := range f.Batches {
		keep := retention.Class(batch.RetentionDays, retention.Default.Logs)
		for _, g := range batch.Groups {
			var resource []string
			for _, kv := range g.Resource {
				resource = append(resource, quoted(kv.Key)+":"+quoted(kv.Value))
			}
			packed := ""
			if len(resource) > 0 {
				packed = "{" + strings.Join(resource, ",") + "}"
			}
			for _, r := range g.Records {
				at := storedTime(r.Time, r.ObservedTime, batch.ReceivedAt)
				severity, text := r.Severity, r.SeverityText
				if severity > maxSeverity {
					severity = 0
				}
				if text == levelOf(uint64(severity)) {
					text = ""
				}
				fmt.Fprintf(&out, "%d %d %d %d %d %q %d %q %q %q %q %x %x", batch.ProjectId, storageDay(at, batch.ReceivedAt, keep), keep, at,
					storedTime(r.ObservedTime, batch.ReceivedAt, uint64(at))/1e6, g.Service, severity, text, g.Scope, r.Body, packed, id(16, r.TraceId), id(8, r.SpanId))
				for _, kv := range r.Attributes {
					fmt.Fprintf(&out, " %q=%q", kv.Key, kv.Value)
				}
				out.WriteByte('\n')
			}
		}
	}
	return out.String()
}

func manyLogs() *telemetrypb.LogFrame {
	const received, dayNS = 1_700_000_000_000_000_000, 24 * 3600 * 1_000_000_000
	kv := func(pairs ...string) (out []*telemetrypb.KeyValue) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, &telemetrypb.KeyValue{Key: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	return &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{
		{ProjectId: 1, ReceivedAt: received, RetentionDays: 7, Groups: []*telemetrypb.LogGroup{
			{Service: "api", Scope: "s", Resource: kv("host", "h\"1", "ö", ""), Records: []*telemetrypb.LogRecord{
				{Time: received - 1, ObservedTime: received, Severity: 9, SeverityText: "info", Body: strings.Repeat("grüße ", 100), Attributes: kv("a", "1", "b", "2"), TraceId: make([]byte, 16), SpanId: []byte("12345678")},
				{Time: received - 3*dayNS, Severity: 17, SeverityText: "ERR", Attributes: kv("a", "1", "c", ""), TraceId: []byte("short")},
				{},
			}},
			{Service: "none"},
			{Records: []*telemetrypb.LogRecord{{Severity: 99, Body: "x"}}},
		}},
		{ProjectId: 70000, ReceivedAt: received + dayNS, Groups: []*telemetrypb.LogGroup{{Service: "api", Resource: kv("host", "h\"1", "ö", ""), Records: []*telemetrypb.LogRecord{{Time: received}}}}},
		{},
	}}
}

func TestLogFramesOfProtobufAreRead(t *testing.T) {
	t.Parallel()
	f := manyLogs()
	b := NewLogBlock()
	for i := range 2 { // the second time from what is remembered
		b.Reset()
		if err := b.Add(uint64(i), 0, marshalFrame(t, f)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(showLogFrame(f), showLogs(t, b)); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	}
}

func TestABrokenLogFrameLeavesNothing(t *testing.T) {
	t.Parallel()
	good := marshalFrame(t, manyLogs())
	b := NewLogBlock()
	if err := b.Add(1, 0, good); err != nil {
		t.Fatal(err)
	}
	want := showLogs(t, b)
	broken := marshalFrame(t, &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{Groups: []*telemetrypb.LogGroup{{Service: "api", Records: []*telemetrypb.LogRecord{
		{Body: "kept by nobody", Attributes: []*telemetrypb.KeyValue{{Key: "a", Value: "b"}}}, {Body: "cut", Attributes: []*telemetrypb.KeyValue{{Key: "k", Value: "voice"}}},
	}}}}}})
	for i := range broken {
		if i > 0 {
			if err := b.Add(2, 0, broken[:i]); err == nil {
				t.Fatalf("a frame that ends after %d bytes was read", i)
			}
		}
		bad := append([]byte{}, broken...)
		bad[i] = 0xff // of a text it is no UTF-8, of a length or tag it is too much
		if err := b.Add(2, 0, bad); err == nil {
			t.Fatalf("a frame with a wrong byte at %d was read", i)
		}
		if got := showLogs(t, b); got != want {
			t.Fatalf("a frame that is broken at %d has left something:\n%s", i, cmp.Diff(want, got))
		}
	}
	if err := b.Add(3, 0, good); err != nil || b.Rows() != 2*strings.Count(want, "\n") {
		t.Errorf("afterwards there are %d rows, %v", b.Rows(), err)
	}
}

func FuzzLogFrame(f *testing.F) {
	good, err := proto.Marshal(manyLogs())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{telemetrypb.TagFrameBatches, 2, telemetrypb.TagBatchItems, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := NewLogBlock()
		readErr := b.Add(1, 0, data)
		got := showLogs(t, b)
		var frame telemetrypb.LogFrame
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, &frame); err != nil {
			return // what is read of it is bounded by its bytes
		}
		if readErr == nil {
			if want := showLogFrame(&frame); got != want {
				t.Errorf("-want +got\n%s", cmp.Diff(want, got))
			}
		} else if got != "" {
			t.Errorf("rows after %v:\n%s", readErr, got)
		}
		// In the order of its fields everything that protobuf knows is read.
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(&frame)
		if err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if err := b.Add(1, 0, again); err != nil {
			t.Fatalf("a frame of protobuf is not read: %v", err)
		}
		if d := cmp.Diff(showLogFrame(&frame), showLogs(t, b)); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}
