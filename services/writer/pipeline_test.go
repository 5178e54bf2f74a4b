package writer

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/bus"
)

// message is what so many requests brought together, each its share of the records.
func message(t testing.TB, frames, records int) bus.Message {
	t.Helper()
	m := bus.Message{Seq: 1}
	for range frames {
		group := &telemetrypb.LogGroup{Service: "shop"}
		for i := range records / frames {
			group.Records = append(group.Records, &telemetrypb.LogRecord{Time: 1_700_000_000_000_000_000, Body: fmt.Sprintf("order %d was paid", i)})
		}
		data, err := proto.Marshal(&telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{ProjectId: 1, Groups: []*telemetrypb.LogGroup{group}}}})
		if err != nil {
			t.Fatal(err)
		}
		m.Frames = append(m.Frames, bus.Frame{Offset: m.Size, Data: data})
		m.Size += len(data)
	}
	return m
}

// joined is the same records as one frame: frames are such that they can be put one behind the other.
func joined(m bus.Message) bus.Message {
	var all []byte
	for _, f := range m.Frames {
		all = append(all, f.Data...)
	}
	m.Frames = []bus.Frame{{Data: all}}
	return m
}

// TestFramesCostNoAllocationsOfTheirOwn compares a message of many frames with the same as one.
func TestFramesCostNoAllocationsOfTheirOwn(t *testing.T) {
	const frames, records = 64, 640
	p := newPipeline(&Writer{cfg: Config{MaxRows: 1 << 20, MaxBytes: 1 << 30}}, (&Writer{}).logs())
	apart := message(t, frames, records)
	whole := joined(apart)
	allocations := func(m bus.Message) float64 {
		return testing.AllocsPerRun(20, func() {
			p.Begin()
			p.Add(m)
			if p.sink.rows() != records {
				t.Fatalf("%d rows, want %d", p.sink.rows(), records)
			}
		})
	}
	if apart, whole := allocations(apart), allocations(whole); apart > whole+frames {
		t.Errorf("%d frames take %v allocations, as one they take %v", frames, apart, whole)
	}
}

// BenchmarkAdd is the decoding of 8000 records, that come in messages of so many frames.
func BenchmarkAdd(b *testing.B) {
	const records = 8000
	for _, frames := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(frames), func(b *testing.B) {
			p := newPipeline(&Writer{cfg: Config{MaxRows: 1 << 20, MaxBytes: 1 << 30}}, (&Writer{}).logs())
			m := message(b, frames, records)
			b.ReportAllocs()
			for b.Loop() {
				p.Begin()
				p.Add(m)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/row")
		})
	}
}
