// Package jsonlog reads log records from JSON as shippers, loggers and people send it: an object,
// an array, an object a line, or objects one behind the other, with the field names of a dozen
// conventions. It is pure: no I/O, no clock.
package jsonlog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/jsonscan"
	"github.com/midwatch/midwatch/services/ingest/record"
)

const (
	// maxRecordBytes bounds the JSON of one record.
	maxRecordBytes = 1 << 20
	// maxErrors is how many bad records are named.
	maxErrors = 20
	// maxFields is how many fields of one record are looked at; of the others only those with a
	// meaning of their own.
	maxFields = 2 * record.MaxAttributes
	// maxSkipDepth is how deep a record may be nested for its end to be found.
	maxSkipDepth = 200
	// maxWaste is how often the text may be read over again for records that are not JSON.
	maxWaste = 16
	// chunk is how many records are allocated at once.
	chunk = 128
)

// Result is what a text held.
type Result struct {
	// Groups have the records, one group for each service, host and environment.
	Groups []*telemetrypb.LogGroup
	// Accepted and Rejected count the records.
	Accepted, Rejected int
	// Errors name the first rejected records.
	Errors []LineError
	// ByReason counts the rejected ones by reason in one word.
	ByReason map[string]int
	// Timed says that every accepted record had a time of its own. Only then is a second text of
	// the same words a repetition and not something that happened again.
	Timed bool
}

// LineError says why a record was rejected.
type LineError struct {
	// Line is where the record begins, from 1.
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// Decode reads the records of a text. Strings of the result are parts of it.
func Decode(text string, w record.Window) *Result {
	d := decoder{
		text: text, window: w, now: uint64(w.Now.UnixNano()),
		result: &Result{Timed: true},
		groups: map[groupKey]*telemetrypb.LogGroup{},
		line:   1,
	}
	d.all()
	return d.result
}

type groupKey struct{ service, host, environment string }

type decoder struct {
	text   string
	window record.Window
	now    uint64
	result *Result

	groups  map[groupKey]*telemetrypb.LogGroup
	lastKey groupKey
	last    *telemetrypb.LogGroup

	lists   record.Lists
	records []telemetrypb.LogRecord
	ids     []byte

	wasted int // bytes that were read in vain for records that are not JSON

	line, counted int // line is the number of the line that has the byte at counted

	fields fields
}

// all reads the values of the text one after the other. Commas and white space between them, and
// an array around them, change nothing.
func (d *decoder) all() {
	i := 0
	if strings.HasPrefix(d.text, "\ufeff") {
		i = len("\ufeff")
	}
	array := -1 // where the open array begins
	for {
		i = jsonscan.Space(d.text, i)
		if i >= len(d.text) {
			break
		}
		switch c := d.text[i]; {
		case c == ',':
			i++
		case c == '[' && array < 0:
			array = i
			i++
		case c == ']' && array >= 0:
			array = -1
			i++
		default:
			i = d.value(i)
		}
	}
	if array >= 0 {
		d.reject(array, "cut_off", "the array that begins here is not closed: the text may be cut off")
	}
}

// value reads the record at i and returns where to go on.
func (d *decoder) value(i int) int {
	switch d.text[i] {
	case '{':
		d.fields.reset()
		end, err := d.fields.object(d.text, i, "", record.MaxDepth)
		if err != nil {
			return d.broken(i, err)
		}
		if end-i > maxRecordBytes {
			d.reject(i, "too_large", fmt.Sprintf("the record has %d bytes, %d are taken", end-i, maxRecordBytes))
			return end
		}
		d.object(i, end)
		return end
	case '"':
		text, end, err := jsonscan.String(d.text, i)
		if err == nil {
			err = d.separated(end)
		}
		if err != nil {
			return d.broken(i, err)
		}
		d.primitive(i, end, text)
		return end
	case '[':
		end, err := jsonscan.Skip(d.text, i, maxSkipDepth)
		if err != nil {
			return d.broken(i, err)
		}
		d.reject(i, "not_a_record", "an array within an array is not a record")
		return end
	default:
		end, err := jsonscan.Skip(d.text, i, 1)
		if err == nil {
			err = d.separated(end)
		}
		if err != nil {
			return d.broken(i, err)
		}
		if text := d.text[i:end]; text == "null" {
			d.reject(i, "not_a_record", "null is not a record")
		} else {
			d.primitive(i, end, text)
		}
		return end
	}
}

// separated checks that a primitive is not directly followed by another value.
func (d *decoder) separated(end int) error {
	if end < len(d.text) {
		switch d.text[end] {
		case ' ', '\t', '\r', '\n', ',', ']':
		default:
			return jsonscan.Fail(d.text, end, "the end of the value")
		}
	}
	return nil
}

// broken rejects the record at start, which is not JSON or nested too deep, and returns where the
// next one may begin.
func (d *decoder) broken(start int, err error) int {
	var syntax *jsonscan.SyntaxError
	if errors.As(err, &syntax) && syntax.TooDeep {
		var end int
		if end, err = jsonscan.Skip(d.text, start, maxSkipDepth); err == nil {
			d.reject(start, "too_deep", fmt.Sprintf("the record is nested deeper than %d", record.MaxDepth))
			return end
		}
	}
	reason := "not JSON: " + err.Error()
	lineStart := strings.LastIndexByte(d.text[:start], '\n') + 1
	if errors.As(err, &syntax) {
		if read := d.text[start:syntax.Offset]; strings.IndexByte(read, '\n') < 0 {
			reason += ", at byte " + strconv.Itoa(syntax.Offset-lineStart+1) + " of the line"
		}
		d.wasted += syntax.Offset - start
	}
	d.reject(start, "not_json", reason)
	// Lines that open something and never close it would each be read to the end of the text.
	if d.wasted > maxWaste*len(d.text) {
		d.reject(start, "not_json", "too much of the text is not JSON: from here on it is not read")
		return len(d.text)
	}
	return d.resume(start, indent(d.text, lineStart))
}

// resume returns the beginning of the first line behind a broken record that can be a record of
// its own. Lines that are indented further, and those that begin with what closes something,
// belong to the broken one.
func (d *decoder) resume(start, limit int) int {
	for i := start; ; {
		n := strings.IndexByte(d.text[i:], '\n')
		if n < 0 {
			return len(d.text)
		}
		i += n + 1
		depth := indent(d.text, i)
		first := i + depth
		if first >= len(d.text) || depth > limit {
			continue
		}
		switch d.text[first] {
		case '}', ',', '\r', '\n':
		default:
			return first
		}
	}
}

// indent counts the blanks at the beginning of a line.
func indent(s string, i int) int {
	n := 0
	for i+n < len(s) && (s[i+n] == ' ' || s[i+n] == '\t') {
		n++
	}
	return n
}

// reject notes a record that begins at i and is not kept.
func (d *decoder) reject(i int, word, reason string) {
	d.result.Rejected++
	if d.result.ByReason == nil {
		d.result.ByReason = map[string]int{}
	}
	d.result.ByReason[word]++
	if len(d.result.Errors) == maxErrors {
		return
	}
	if i < d.counted { // the array around the records
		d.line, d.counted = 1, 0
	}
	d.line += strings.Count(d.text[d.counted:i], "\n")
	d.counted = i
	d.result.Errors = append(d.result.Errors, LineError{Line: d.line, Reason: reason})
}

// primitive keeps a record that is only a message.
func (d *decoder) primitive(start, end int, text string) {
	if end-start > maxRecordBytes {
		d.reject(start, "too_large", fmt.Sprintf("the record has %d bytes, %d are taken", end-start, maxRecordBytes))
		return
	}
	r := d.newRecord()
	r.Time, r.ObservedTime = d.now, d.now
	d.result.Timed = false
	d.setBody(r, text)
	r.Attributes = d.lists.Close()
	d.keep(groupKey{}, r)
}

// object keeps the record whose fields were read from the text between start and end.
func (d *decoder) object(start, end int) {
	f := &d.fields
	f.unwrap()
	at, timed := f.time()
	if timed {
		if err := d.window.Check(at); err != nil {
			var t *record.TimeError
			errors.As(err, &t)
			d.reject(start, t.Reason(), err.Error())
			return
		}
	} else {
		at = d.now
		d.result.Timed = false
	}
	r := d.newRecord()
	r.Time, r.ObservedTime = at, d.now
	r.Severity, r.SeverityText = f.level()
	r.TraceId = d.id(f.id(roleTrace, 16))
	r.SpanId = d.id(f.id(roleSpan, 8))
	var key groupKey
	key.service = record.Clip(f.take(roleService), record.MaxNameBytes)
	key.host = record.Clip(f.take(roleHost), record.MaxNameBytes)
	key.environment = record.Clip(f.take(roleEnvironment), record.MaxNameBytes)
	body, ok := f.message()
	if !ok {
		// The record has no message: it is its own, so that it can be seen and searched.
		body = validUTF8(d.text[start:end])
	}
	for i := range f.list {
		if one := &f.list[i]; !one.taken {
			d.lists.Set(one.key, one.text())
		}
	}
	d.setBody(r, body)
	r.Attributes = d.lists.CloseDropping(f.dropped)
	d.keep(key, r)
}

func (d *decoder) setBody(r *telemetrypb.LogRecord, body string) {
	if len(body) > record.MaxBodyBytes {
		d.lists.Set(record.CutBody, strconv.Itoa(len(body)))
		body = record.Clip(body, record.MaxBodyBytes)
	}
	r.Body = body
}

func (d *decoder) newRecord() *telemetrypb.LogRecord {
	if len(d.records) == 0 {
		d.records = make([]telemetrypb.LogRecord, chunk)
	}
	r := &d.records[0]
	d.records = d.records[1:]
	return r
}

// id keeps the bytes of an id.
func (d *decoder) id(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if cap(d.ids)-len(d.ids) < len(b) {
		d.ids = make([]byte, 0, 24*chunk)
	}
	from := len(d.ids)
	d.ids = append(d.ids, b...)
	return d.ids[from:len(d.ids):len(d.ids)]
}

func (d *decoder) keep(key groupKey, r *telemetrypb.LogRecord) {
	d.result.Accepted++
	group := d.last
	if group == nil || key != d.lastKey {
		if group = d.groups[key]; group == nil {
			group = &telemetrypb.LogGroup{Service: key.service}
			if key.host != "" {
				group.Resource = append(group.Resource, &telemetrypb.KeyValue{Key: "host.name", Value: key.host})
			}
			if key.environment != "" {
				group.Resource = append(group.Resource, &telemetrypb.KeyValue{Key: "deployment.environment.name", Value: key.environment})
			}
			d.groups[key] = group
			d.result.Groups = append(d.result.Groups, group)
		}
		d.lastKey, d.last = key, group
	}
	group.Records = append(group.Records, r)
}
