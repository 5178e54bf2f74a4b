// Package otlp turns OpenTelemetry's export requests into what goes on the bus. It is pure: no
// I/O, no clock. Records that cannot be kept are left out and counted, with words for their
// sender.
package otlp

import (
	"strings"

	"github.com/midwatch/midwatch/services/ingest/record"
)

// Rejections counts the records of a request that are not kept, and says why.
type Rejections struct {
	// Count is how many records are not kept.
	Count int64
	record.Reasons
}

// add counts n records. The word is for the product's metrics, the text for the sender.
func (r *Rejections) add(n int64, word, text string) {
	if n <= 0 {
		return
	}
	r.Count += n
	r.Add(int(n), word, text)
}

// Message is what the sender is told; empty where nothing was rejected.
func (r *Rejections) Message() string {
	if r.Count == 0 {
		return ""
	}
	return strings.Join(r.Texts(), "; ")
}
