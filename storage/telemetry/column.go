package telemetry

import (
	"encoding/binary"

	"github.com/ClickHouse/ch-go/proto"
)

// The columns below hold one block of rows in the form of the native protocol. They differ from
// those of ch-go in what an append costs: nothing is kept twice and nothing is hashed twice.

// int64Column is a column whose wire form is 64-bit integers: Int64 and the DateTime64 types.
type int64Column struct {
	proto.ColInt64
	typ proto.ColumnType
}

func (c *int64Column) Type() proto.ColumnType { return c.typ }

// uint16Column is a column whose wire form is 16-bit integers.
type uint16Column struct {
	proto.ColUInt16
	typ proto.ColumnType
}

func (c *uint16Column) Type() proto.ColumnType { return c.typ }

// textColumn is a String column, kept as it is sent.
type textColumn struct {
	buf  []byte
	rows int
}

func (c *textColumn) append(s string) {
	c.buf = binary.AppendUvarint(c.buf, uint64(len(s)))
	c.buf = append(c.buf, s...)
	c.rows++
}

func (c *textColumn) appendBytes(s []byte) {
	c.buf = binary.AppendUvarint(c.buf, uint64(len(s)))
	c.buf = append(c.buf, s...)
	c.rows++
}

func (c *textColumn) Type() proto.ColumnType       { return "String" }
func (c *textColumn) Rows() int                    { return c.rows }
func (c *textColumn) EncodeColumn(b *proto.Buffer) { b.Buf = append(b.Buf, c.buf...) }
func (c *textColumn) WriteColumn(w *proto.Writer)  { w.ChainWrite(c.buf) }
func (c *textColumn) Reset()                       { c.buf, c.rows = c.buf[:0], 0 }

// bytesColumn is a FixedString column.
type bytesColumn struct {
	buf  []byte
	size int
	typ  proto.ColumnType
}

func newBytesColumn(size int, typ proto.ColumnType) bytesColumn {
	return bytesColumn{size: size, typ: typ}
}

// append adds v where it has the column's size, else zeros: what is absent or no id at all.
func (c *bytesColumn) append(v []byte) {
	if len(v) != c.size {
		c.buf = append(c.buf, zeros[:c.size]...)
		return
	}
	c.buf = append(c.buf, v...)
}

var zeros [16]byte

func (c *bytesColumn) Type() proto.ColumnType       { return c.typ }
func (c *bytesColumn) Rows() int                    { return len(c.buf) / c.size }
func (c *bytesColumn) EncodeColumn(b *proto.Buffer) { b.Buf = append(b.Buf, c.buf...) }
func (c *bytesColumn) WriteColumn(w *proto.Writer)  { w.ChainWrite(c.buf) }
func (c *bytesColumn) Reset()                       { c.buf = c.buf[:0] }

// dictColumn is a LowCardinality(String) column.
type dictColumn struct {
	keys   []uint32
	names  []string // by key
	index  map[string]uint32
	values textColumn // names, as they are sent
}

// dictKeep bounds the dictionary whose memory is kept for the next block.
const dictKeep = 1 << 14

func (c *dictColumn) append(s string) {
	if n := len(c.keys); n > 0 && c.names[c.keys[n-1]] == s {
		c.keys = append(c.keys, c.keys[n-1])
		return
	}
	c.keys = append(c.keys, c.key(s))
}

// appendLike is append for a value that probably equals row i.
func (c *dictColumn) appendLike(s string, i int) {
	if i < len(c.keys) {
		if key := c.keys[i]; c.names[key] == s {
			c.keys = append(c.keys, key)
			return
		}
	}
	c.keys = append(c.keys, c.key(s))
}

func (c *dictColumn) key(s string) uint32 {
	key, ok := c.index[s]
	if !ok {
		if c.index == nil {
			c.index = make(map[string]uint32)
		}
		key = uint32(len(c.names))
		c.index[s] = key
		c.names = append(c.names, s)
		c.values.append(s)
	}
	return key
}

// keyOf is key for what is not a string yet.
func (c *dictColumn) keyOf(s []byte) uint32 {
	if key, ok := c.index[string(s)]; ok {
		return key
	}
	return c.key(string(s))
}

func (c *dictColumn) Type() proto.ColumnType { return "LowCardinality(String)" }
func (c *dictColumn) Rows() int              { return len(c.keys) }

func (c *dictColumn) Reset() {
	c.keys = c.keys[:0]
	if len(c.names) > dictKeep {
		c.names, c.index = nil, nil
	}
	clear(c.names)
	c.names = c.names[:0]
	clear(c.index)
	c.values.Reset()
}

// The prefix and the flags of the one serialisation of LowCardinality that the native protocol
// has: a dictionary that is complete in each block.
const (
	dictVersion = 1
	dictFlags   = 1<<9 | 1<<10 // has additional keys, needs an update of the dictionary
)

func (c *dictColumn) EncodeState(b *proto.Buffer) { b.PutInt64(dictVersion) }

func (c *dictColumn) EncodeColumn(b *proto.Buffer) {
	if len(c.keys) == 0 {
		return
	}
	var width int64 // 0, 1, 2: one, two, four bytes a key
	switch n := len(c.names); {
	case n > 1<<16:
		width = 2
	case n > 1<<8:
		width = 1
	}
	b.PutInt64(dictFlags | width)
	b.PutInt64(int64(len(c.names)))
	c.values.EncodeColumn(b)
	b.PutInt64(int64(len(c.keys)))
	switch width {
	case 0:
		for _, k := range c.keys {
			b.Buf = append(b.Buf, byte(k))
		}
	case 1:
		for _, k := range c.keys {
			b.Buf = append(b.Buf, byte(k), byte(k>>8))
		}
	default:
		for _, k := range c.keys {
			b.Buf = append(b.Buf, byte(k), byte(k>>8), byte(k>>16), byte(k>>24))
		}
	}
}

func (c *dictColumn) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }

// mapColumn is a Map(LowCardinality(String), String) column. A row is appended pair by pair and
// then ended.
type mapColumn struct {
	offsets proto.ColUInt64
	keys    dictColumn
	values  textColumn
	prev    int // where the row before the one being appended begins
	begin   int // where the row being appended begins
}

func (c *mapColumn) append(key, value string) {
	// Records of one sender mostly have the same keys in the same order.
	c.keys.appendLike(key, c.prev+len(c.keys.keys)-c.begin)
	c.values.append(value)
}

func (c *mapColumn) appendBytes(key, value []byte) {
	like := c.prev + len(c.keys.keys) - c.begin
	if like < len(c.keys.keys) && c.keys.names[c.keys.keys[like]] == string(key) {
		c.keys.keys = append(c.keys.keys, c.keys.keys[like])
	} else {
		c.keys.keys = append(c.keys.keys, c.keys.keyOf(key))
	}
	c.values.appendBytes(value)
}

func (c *mapColumn) end() {
	c.prev, c.begin = c.begin, len(c.keys.keys)
	c.offsets = append(c.offsets, uint64(c.begin))
}

func (c *mapColumn) Type() proto.ColumnType      { return "Map(LowCardinality(String), String)" }
func (c *mapColumn) Rows() int                   { return len(c.offsets) }
func (c *mapColumn) EncodeState(b *proto.Buffer) { c.keys.EncodeState(b) }
func (c *mapColumn) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }
func (c *mapColumn) EncodeColumn(b *proto.Buffer) {
	c.offsets.EncodeColumn(b)
	c.keys.EncodeColumn(b)
	c.values.EncodeColumn(b)
}

func (c *mapColumn) Reset() {
	c.offsets.Reset()
	c.keys.Reset()
	c.values.Reset()
	c.prev, c.begin = 0, 0
}

// bytes is about the size of what is sent.
func (c *mapColumn) bytes() int {
	return 8*len(c.offsets) + 2*len(c.keys.keys) + len(c.keys.values.buf) + len(c.values.buf)
}

// textMapColumn is a Map(String, String) column. A row is appended pair by pair and then ended.
type textMapColumn struct {
	offsets      proto.ColUInt64
	keys, values textColumn
}

func (c *textMapColumn) append(key, value []byte) {
	c.keys.appendBytes(key)
	c.values.appendBytes(value)
}

func (c *textMapColumn) end() { c.offsets = append(c.offsets, uint64(c.keys.rows)) }

func (c *textMapColumn) Type() proto.ColumnType      { return "Map(String, String)" }
func (c *textMapColumn) Rows() int                   { return len(c.offsets) }
func (c *textMapColumn) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }
func (c *textMapColumn) EncodeColumn(b *proto.Buffer) {
	c.offsets.EncodeColumn(b)
	c.keys.EncodeColumn(b)
	c.values.EncodeColumn(b)
}
