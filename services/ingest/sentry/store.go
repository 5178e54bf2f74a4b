package sentry

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"io"
)

// StoreBody returns the JSON of an event that came to the old store endpoint: as it is, or as
// base64 of it, or as base64 of zlib of it. Errors wrap ErrMalformed or ErrTooLarge.
func StoreBody(raw []byte) ([]byte, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, fmt.Errorf("%w event: the body is empty", ErrMalformed)
	}
	if raw[0] == '{' {
		return raw, nil
	}
	packed := raw
	if !isZlib(raw) {
		var err error
		if packed, err = unbase64(raw); err != nil {
			return nil, fmt.Errorf("%w event: it is neither JSON nor base64", ErrMalformed)
		}
	}
	if !isZlib(packed) {
		return packed, nil
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%w event: %w", ErrMalformed, err)
	}
	out, err := io.ReadAll(io.LimitReader(z, MaxEventBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%w event: %w", ErrMalformed, err)
	}
	if len(out) > MaxEventBytes {
		return nil, fmt.Errorf("event is %w: the limit is %d bytes", ErrTooLarge, MaxEventBytes)
	}
	return out, nil
}

func isZlib(b []byte) bool {
	return len(b) > 2 && b[0] == 0x78 && (uint(b[0])<<8|uint(b[1]))%31 == 0
}

// unbase64 takes both alphabets, with and without padding.
func unbase64(b []byte) ([]byte, error) {
	b = bytes.Map(func(r rune) rune {
		switch r {
		case '-':
			return '+'
		case '_':
			return '/'
		case ' ', '\n', '\r', '\t', '=':
			return -1
		}
		return r
	}, b)
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(b)))
	n, err := base64.RawStdEncoding.Decode(out, b)
	return out[:n], err
}
