package record

import "fmt"

const (
	// MaxReasons is how many different texts are told to a sender.
	MaxReasons = 8
	// MaxReasonBytes bounds one of them: names in it come from the sender.
	MaxReasonBytes = 512
)

// Reasons say why some records of a request are not kept.
type Reasons struct {
	// ByReason has how many by reason in one word, for the product's own metrics.
	ByReason map[string]int

	texts []counted
	more  bool
}

type counted struct {
	text  string
	count int
}

// Add counts n records: the word is for the product's metrics, the text for the sender.
func (r *Reasons) Add(n int, word, text string) {
	r.Tally(n, word)
	text = Clip(text, MaxReasonBytes)
	for i := range r.texts {
		if r.texts[i].text == text {
			r.texts[i].count += n
			return
		}
	}
	if len(r.texts) == MaxReasons {
		r.more = true
		return
	}
	r.texts = append(r.texts, counted{text, n})
}

// Tally counts n records that their sender is not told about.
func (r *Reasons) Tally(n int, word string) {
	if r.ByReason == nil {
		r.ByReason = map[string]int{}
	}
	r.ByReason[word] += n
}

// Texts returns what the sender is told, each text with its count.
func (r *Reasons) Texts() []string {
	texts := make([]string, 0, len(r.texts)+1)
	for _, one := range r.texts {
		texts = append(texts, fmt.Sprintf("%s (%d)", one.text, one.count))
	}
	if r.more {
		texts = append(texts, "and more")
	}
	return texts
}
