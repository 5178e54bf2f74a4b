package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/midwatch/midwatch/services/ingest/jsonscan"
)

// maxJSONDepth bounds the nesting of a JSON request; a value of record.MaxDepth takes about four
// levels for each of its own.
const maxJSONDepth = 256

// UnmarshalJSON reads a message in OTLP's JSON form, which differs from that of protobuf: ids are
// hexadecimal and enums are numbers. It takes names of enums, 64-bit integers as text or number,
// and snake_case keys as well, and ignores what it does not know.
func UnmarshalJSON(text string, m proto.Message) error {
	d := jsonDecoder{text: text}
	i := jsonscan.Space(text, 0)
	end, err := d.message(i, m.ProtoReflect(), maxJSONDepth)
	if err != nil {
		return err
	}
	if end = jsonscan.Space(text, end); end != len(text) {
		return fmt.Errorf("at byte %d: more text behind the request", end)
	}
	return nil
}

type jsonDecoder struct {
	text string
}

// at words an error with its place.
func at(i int, err error) error {
	if s, ok := errors.AsType[*jsonscan.SyntaxError](err); ok {
		i = s.Offset
	}
	return fmt.Errorf("at byte %d: %w", i, err)
}

// message reads the object at i into m.
func (d *jsonDecoder) message(i int, m protoreflect.Message, depth int) (int, error) {
	if depth <= 0 {
		return i, at(i, jsonscan.TooDeep(i))
	}
	if i >= len(d.text) || d.text[i] != '{' {
		return i, at(i, jsonscan.Fail(d.text, i, "an object"))
	}
	i = jsonscan.Space(d.text, i+1)
	if i < len(d.text) && d.text[i] == '}' {
		return i + 1, nil
	}
	fields := m.Descriptor().Fields()
	for {
		if i >= len(d.text) || d.text[i] != '"' {
			return i, at(i, jsonscan.Fail(d.text, i, "a quoted key"))
		}
		key, end, err := jsonscan.String(d.text, i)
		if err != nil {
			return end, at(end, err)
		}
		if i, err = jsonscan.Colon(d.text, end); err != nil {
			return i, at(i, err)
		}
		fd := fields.ByJSONName(key)
		if fd == nil {
			fd = fields.ByTextName(key)
		}
		if fd == nil || strings.HasPrefix(d.text[i:], "null") {
			if i, err = jsonscan.Skip(d.text, i, depth-1); err != nil {
				return i, at(i, err)
			}
		} else if i, err = d.field(i, m, fd, depth-1); err != nil {
			return i, err
		}
		var more bool
		if i, more, err = jsonscan.Next(d.text, i, '}'); err != nil {
			return i, at(i, err)
		}
		if !more {
			return i, nil
		}
	}
}

// field reads the value at i into a field of m.
func (d *jsonDecoder) field(i int, m protoreflect.Message, fd protoreflect.FieldDescriptor, depth int) (int, error) {
	if fd.IsList() {
		return d.list(i, m.Mutable(fd).List(), fd, depth)
	}
	if fd.Message() != nil {
		return d.message(i, m.Mutable(fd).Message(), depth)
	}
	v, end, err := d.scalar(i, fd)
	if err != nil {
		return end, err
	}
	m.Set(fd, v)
	return end, nil
}

func (d *jsonDecoder) list(i int, list protoreflect.List, fd protoreflect.FieldDescriptor, depth int) (int, error) {
	if depth <= 0 {
		return i, at(i, jsonscan.TooDeep(i))
	}
	if i >= len(d.text) || d.text[i] != '[' {
		return i, at(i, jsonscan.Fail(d.text, i, "an array"))
	}
	i = jsonscan.Space(d.text, i+1)
	if i < len(d.text) && d.text[i] == ']' {
		return i + 1, nil
	}
	for {
		var err error
		if fd.Message() != nil {
			i, err = d.message(i, list.AppendMutable().Message(), depth-1)
		} else {
			var v protoreflect.Value
			if v, i, err = d.scalar(i, fd); err == nil {
				list.Append(v)
			}
		}
		if err != nil {
			return i, err
		}
		var more bool
		if i, more, err = jsonscan.Next(d.text, i, ']'); err != nil {
			return i, at(i, err)
		}
		if !more {
			return i, nil
		}
	}
}

// scalar reads the value at i, which may be quoted whatever it is.
func (d *jsonDecoder) scalar(i int, fd protoreflect.FieldDescriptor) (protoreflect.Value, int, error) {
	var none protoreflect.Value
	if i >= len(d.text) {
		return none, i, at(i, jsonscan.Fail(d.text, i, "a value"))
	}
	if c := d.text[i]; c == '{' || c == '[' {
		return none, i, at(i, fmt.Errorf("%s has a value of %s", fd.JSONName(), fd.Kind()))
	}
	quoted := d.text[i] == '"'
	var word string
	var end int
	var err error
	if quoted {
		word, end, err = jsonscan.String(d.text, i)
	} else {
		end, err = jsonscan.Skip(d.text, i, 1)
		word = d.text[i:max(i, end)]
	}
	if err != nil {
		return none, end, at(end, err)
	}
	v, err := scalarOf(word, quoted, fd)
	if err != nil {
		return none, i, at(i, fmt.Errorf("%s: %w", fd.JSONName(), err))
	}
	return v, end, nil
}

func scalarOf(word string, quoted bool, fd protoreflect.FieldDescriptor) (protoreflect.Value, error) {
	var none protoreflect.Value
	switch fd.Kind() {
	case protoreflect.StringKind:
		if !quoted {
			return none, fmt.Errorf("%s is not a string", word)
		}
		return protoreflect.ValueOfString(word), nil
	case protoreflect.BytesKind:
		if !quoted {
			return none, fmt.Errorf("%s is not a string", word)
		}
		b, err := bytesOf(word, fd.Name())
		return protoreflect.ValueOfBytes(b), err
	case protoreflect.BoolKind:
		v, err := strconv.ParseBool(word)
		if err != nil || word != "true" && word != "false" {
			return none, fmt.Errorf("%q is neither true nor false", word)
		}
		return protoreflect.ValueOfBool(v), nil
	case protoreflect.EnumKind:
		if v := fd.Enum().Values().ByName(protoreflect.Name(word)); v != nil {
			return protoreflect.ValueOfEnum(v.Number()), nil
		}
		v, err := integer(word, math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(v)), err
	case protoreflect.DoubleKind:
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return none, fmt.Errorf("%q is not a number", word)
		}
		return protoreflect.ValueOfFloat64(v), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		v, err := integer(word, math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(v)), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		v, err := integer(word, 0, math.MaxUint32)
		return protoreflect.ValueOfUint32(uint32(v)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		v, err := integer(word, math.MinInt64, math.MaxInt64)
		return protoreflect.ValueOfInt64(v), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if v, err := strconv.ParseUint(word, 10, 64); err == nil {
			return protoreflect.ValueOfUint64(v), nil
		}
		v, err := integer(word, 0, math.MaxInt64)
		return protoreflect.ValueOfUint64(uint64(v)), err
	default:
		return none, fmt.Errorf("a value of kind %s is not known", fd.Kind())
	}
}

// integer reads a whole number, also as 1.0 or 1e3.
func integer(word string, least, most int64) (int64, error) {
	v, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(word, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
			return 0, fmt.Errorf("%q is not a whole number of this size", word)
		}
		v = int64(f)
	}
	if v < least || v > most {
		return 0, fmt.Errorf("%q is out of range", word)
	}
	return v, nil
}

// bytesOf reads ids as hexadecimal and all other bytes as base64.
func bytesOf(word string, field protoreflect.Name) ([]byte, error) {
	switch field {
	case "trace_id", "span_id", "parent_span_id":
		b, err := hex.DecodeString(word)
		if err != nil {
			return nil, fmt.Errorf("%q is not hexadecimal", word)
		}
		return b, nil
	}
	word = strings.TrimRight(word, "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(word, "-_") {
		encoding = base64.RawURLEncoding
	}
	b, err := encoding.DecodeString(word)
	if err != nil {
		return nil, errors.New("a value is not base64")
	}
	return b, nil
}
