package ingest

import (
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/midwatch/midwatch/services/ingest/otlp"
	"github.com/midwatch/midwatch/services/ingest/remotewrite"
)

// BenchmarkDecode is what intake does between a body and the first frame.
func BenchmarkDecode(b *testing.B) {
	const samples = 8000
	unpack := func(b *testing.B, packed []byte) []byte {
		body, err := snappy.Decode(nil, packed)
		if err != nil {
			b.Fatal(err)
		}
		return body
	}
	report := func(b *testing.B, began time.Duration) {
		b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N*samples), "cpu-ns/sample")
	}
	for name, version := range map[string]remotewrite.Version{"RemoteWriteV1": remotewrite.V1, "RemoteWriteV2": remotewrite.V2} {
		b.Run(name, func(b *testing.B) {
			packed := benchmarkWriteV1(samples, time.Now())
			if version == remotewrite.V2 {
				packed = benchmarkWriteV2(b, samples, time.Now())
			}
			body := unpack(b, packed)
			b.ReportAllocs()
			began := cpuTime(b)
			for b.Loop() {
				req, err := remotewrite.Decode(version, body, window(30))
				if err != nil || req.Samples() != samples {
					b.Fatal(err)
				}
				req.Release()
			}
			report(b, began)
		})
	}
	b.Run("OTLP", func(b *testing.B) {
		body := benchmarkExport(b, samples, time.Now())
		b.ReportAllocs()
		began := cpuTime(b)
		for b.Loop() {
			set, _, err := otlp.DecodeMetrics(body, window(30))
			if err != nil || set.Samples() < samples {
				b.Fatal(err)
			}
			set.Release()
		}
		report(b, began)
	})
}
