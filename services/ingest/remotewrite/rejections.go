package remotewrite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/midwatch/midwatch/services/ingest/record"
)

// A refusal says why samples are not kept: in one word for the product's metrics, in a text for
// the sender.
type refusal struct{ word, text string }

func (r *refusal) Error() string { return r.text }

func refuse(word, format string, args ...any) error {
	return &refusal{word, fmt.Sprintf(format, args...)}
}

var (
	errHistogram     = refuse("native_histogram_not_kept", histogramNotKept)
	errNoSamples     = refuse("no_samples", "it has no samples")
	errTooLarge      = refuse("too_large", "the series of this request come to more than %d MiB, send smaller batches", maxOutputBytes>>20)
	errOddReferences = refuse("bad_reference", "the references to its labels are not pairs")
)

// exemplarsWord is the reason of exemplars in ByReason.
const exemplarsWord = "exemplar_not_kept"

// Rejections counts what is not kept of a request, and says why.
type Rejections struct {
	// Rejected is how many samples and native histograms are not kept.
	Rejected int
	// Exemplars is how many exemplars are not kept. They are none of Rejected: a sample is whole
	// without them.
	Exemplars int
	record.Reasons
}

// add counts n samples of a series that are not kept for err.
func (r *Rejections) add(n int, subject string, err error) {
	word := "invalid"
	var own *refusal
	var late *record.TimeError
	switch {
	case errors.As(err, &own):
		word = own.word
	case errors.As(err, &late):
		word = late.Reason()
	}
	r.Rejected += n
	r.Add(n, word, subject+": "+err.Error())
}

func (r *Rejections) dropExemplars(n int) {
	if n == 0 {
		return
	}
	r.Exemplars += n
	r.Tally(n, exemplarsWord)
}

// Message is what the sender is told, in one line; empty where nothing was rejected.
func (r *Request) Message() string {
	if r.Rejected == 0 {
		return ""
	}
	parts := r.Texts()
	if r.Exemplars > 0 {
		parts = append(parts, fmt.Sprintf("%s (%d)", exemplarNotKept, r.Exemplars))
	}
	return fmt.Sprintf("%d samples are stored, %d are not: %s", r.Samples(), r.Rejected, strings.Join(parts, "; "))
}
