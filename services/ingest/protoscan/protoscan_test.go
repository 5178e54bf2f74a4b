package protoscan

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// FuzzNext compares with protobuf's own reader of fields.
func FuzzNext(f *testing.F) {
	for _, b := range [][]byte{{8, 1}, {9, 1, 2, 3, 4, 5, 6, 7, 8}, {10, 1, 'a'}, {0x82, 1, 0x81, 0, 'a'}, {13, 1, 2, 3, 4}, {11, 12}, {10, 5, 'a'}, {9, 1}, {0}, {0xf8, 0xff, 0xff, 0xff, 0xff, 0x0f, 1}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		number, typ, n := protowire.ConsumeField(b)
		got, rest, err := Next(b)
		if bad := n < 0 || number > protowire.MaxValidNumber; bad != (err != nil) {
			t.Fatalf("Next: %v, protowire: %d, number %d", err, n, number)
		}
		if err != nil {
			return
		}
		if got.Tag != protowire.EncodeTag(number, typ) || len(rest) != len(b)-n {
			t.Fatalf("Next: tag %d and %d bytes more, protowire: number %d, type %d, %d bytes", got.Tag, len(rest), number, typ, n)
		}
		_, _, head := protowire.ConsumeTag(b)
		switch value := b[head:n]; typ {
		case protowire.VarintType:
			if want, _ := protowire.ConsumeVarint(value); got.Number != want {
				t.Fatalf("Next: %d, protowire: %d", got.Number, want)
			}
		case protowire.Fixed64Type:
			if want, _ := protowire.ConsumeFixed64(value); got.Number != want {
				t.Fatalf("Next: %d, protowire: %d", got.Number, want)
			}
		case protowire.BytesType:
			if want, _ := protowire.ConsumeBytes(value); !bytes.Equal(got.Bytes, want) {
				t.Fatalf("Next: %x, protowire: %x", got.Bytes, want)
			}
		}
	})
}
