// Package protoscan reads messages of protocol buffers field by field, without generated structs and
// without copies: https://protobuf.dev/programming-guides/encoding.
package protoscan

import (
	"encoding/binary"
	"errors"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// The types of fields. The tag of a field is its number << 3 | its type.
const (
	Varint  = uint64(protowire.VarintType)
	Fixed64 = uint64(protowire.Fixed64Type)
	Bytes   = uint64(protowire.BytesType)
)

var errNumber = errors.New("a field has a number that there is not")

// Field is one field of a message. By its type its value is in Number or in Bytes, or not kept.
type Field struct {
	Tag    uint64
	Number uint64
	Bytes  []byte // a part of the message
}

// Next cuts the first field off a message, which is not empty.
func Next(b []byte) (f Field, rest []byte, err error) {
	if len(b) > 1 && b[0] < 0x80 && b[0] >= 8 { // what nearly all fields are
		switch f.Tag = uint64(b[0]); f.Tag & 7 {
		case Bytes:
			if b[1] < 0x80 {
				end := 2 + int(b[1])
				if end > len(b) {
					return f, nil, io.ErrUnexpectedEOF
				}
				f.Bytes = b[2:end]
				return f, b[end:], nil
			}
		case Fixed64:
			if len(b) < 9 {
				return f, nil, io.ErrUnexpectedEOF
			}
			f.Number = binary.LittleEndian.Uint64(b[1:])
			return f, b[9:], nil
		}
	}
	number, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	if number > protowire.MaxValidNumber {
		return f, nil, errNumber
	}
	b = b[n:]
	switch typ {
	case protowire.VarintType:
		f.Number, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.Number, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		f.Bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, typ, b)
	}
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	f.Tag = protowire.EncodeTag(number, typ)
	return f, b[n:], nil
}

// Each calls take with every field of a message, and returns its first error.
func Each(b []byte, take func(f Field) error) error {
	for len(b) > 0 {
		f, rest, err := Next(b)
		if err != nil {
			return err
		}
		if err := take(f); err != nil {
			return err
		}
		b = rest
	}
	return nil
}
