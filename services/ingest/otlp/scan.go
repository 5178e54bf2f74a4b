package otlp

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxMessages bounds the messages within one request: an empty one takes two bytes as sent and
	// a hundred and more once decoded.
	maxMessages = 1 << 20
	// maxNesting is how deep the protobuf decoder goes.
	maxNesting = protowire.DefaultRecursionLimit
)

// ErrTooManyMessages says that decoding a request would take far more memory than the request.
var ErrTooManyMessages = errors.New("the request has too many parts")

// Scan refuses an encoded message that would decode to too much, without decoding it. What is
// malformed is left to the decoder, which goes no further than Scan did.
func Scan(body []byte, m protoreflect.MessageDescriptor) error {
	left := maxMessages
	scan(body, m, &left, 0)
	if left < 0 {
		return tooManyMessages()
	}
	return nil
}

// scan takes the parts of a message from what is left, and reports whether to go on.
func scan(b []byte, m protoreflect.MessageDescriptor, left *int, depth int) bool {
	if depth > maxNesting {
		return false
	}
	fields := m.Fields()
	for len(b) > 0 {
		number, wireType, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if wireType != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, wireType, b); n < 0 {
				return false
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		field := fields.ByNumber(number)
		if field == nil {
			continue
		}
		switch {
		case field.Message() != nil:
			*left--
			if *left < 0 || !scan(value, field.Message(), left, depth+1) {
				return false
			}
		case field.IsList():
			// Strings, and numbers in one piece, that take up to eight times as much once decoded.
			*left -= 1 + len(value)/16
			if *left < 0 {
				return false
			}
		}
	}
	return true
}
