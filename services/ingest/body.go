package ingest

import (
	"bufio"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"
)

var (
	// errTooLarge says that a body is over the limit, as sent or unpacked.
	errTooLarge = errors.New("the body is too large")
	// errEncoding says that the Content-Encoding is not known. Nothing of the body was read.
	errEncoding = errors.New("unknown content encoding")
	// errTruncated says that the body ended early.
	errTruncated = errors.New("the body is cut off")
	// errCorrupt says that the body is not what its Content-Encoding says.
	errCorrupt = errors.New("the body cannot be unpacked")
)

const (
	leaseKey = "midwatch.ingest.lease"
	// pooledBytes is the capacity up to which buffers are used again.
	pooledBytes = 4 << 20
	// firstBytes is the capacity of a new buffer.
	firstBytes = 64 << 10
	// announcedBytes is how much is made ready for a body because of its Content-Length alone.
	announcedBytes = 1 << 20
	// zstdWindow bounds what a zstd frame may have its decoder remember.
	zstdWindow = 8 << 20
)

// lease is what one request holds; intake gives it back.
type lease struct {
	buffers []*[]byte
	held    int64 // bytes counted in Server.held
	bytes   int64 // bytes of bodies read, unpacked
}

// gauge counts up to a limit.
type gauge struct {
	limit int64
	used  atomic.Int64
}

func (g *gauge) take(n int64) bool {
	if g.used.Add(n) > g.limit {
		g.used.Add(-n)
		return false
	}
	return true
}

func (g *gauge) give(n int64) { g.used.Add(-n) }

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, firstBytes); return &b }}

func (s *Server) release(l *lease) {
	s.held.give(l.held)
	l.held = 0
	for _, b := range l.buffers {
		if cap(*b) <= pooledBytes {
			*b = (*b)[:0]
			buffers.Put(b)
		}
	}
	l.buffers = nil
}

// body reads and unpacks a request's body of at most limit bytes by its Content-Encoding: identity
// (also as "" or absent), gzip, x-gzip, deflate, zstd or br. The bytes belong to the request: they
// are valid until a handler within intake returns. Errors wrap errTooLarge, errEncoding,
// errTruncated or errCorrupt, or are a *retryError where the body came too slowly or too much is
// held already.
func (s *Server) body(c echo.Context, limit int64) ([]byte, error) {
	return s.bodyAs(c, c.Request().Header.Get(echo.HeaderContentEncoding), limit)
}

// bodyAs is body with the encoding given by the caller.
func (s *Server) bodyAs(c echo.Context, encoding string, limit int64) ([]byte, error) {
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	unpack, ok := decompressors[encoding]
	if !ok {
		return nil, fmt.Errorf("%w %q: send identity, gzip, deflate, zstd or br", errEncoding, encoding)
	}
	r := c.Request()
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	deadline := time.Now().Add(s.cfg.ReadTimeout)
	if err := http.NewResponseController(c.Response()).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, fmt.Errorf("%w: %w", errTruncated, err)
	}
	// What is sent may be a little larger than what it unpacks to, never much.
	wire := &wireReader{r: r.Body, left: limit + limit/64 + 1024}
	src, done, err := unpack(wire)
	if err != nil {
		return nil, s.readError(wire, encoding, limit, err)
	}
	defer done()

	l, _ := c.Get(leaseKey).(*lease)
	buf, err := s.readAll(src, l, max(r.ContentLength, 0), limit)
	if err != nil {
		return nil, s.readError(wire, encoding, limit, err)
	}
	return buf, nil
}

// readAll reads src to its end. The buffer is from the pool and counted if there is a lease.
func (s *Server) readAll(src io.Reader, l *lease, expected, limit int64) ([]byte, error) {
	if l == nil {
		l = new(lease)
		defer func() { s.held.give(l.held) }()
	}
	p := buffers.Get().(*[]byte)
	l.buffers = append(l.buffers, p)
	buf := (*p)[:0]
	if int64(cap(buf)) <= expected {
		// One more, so that the end is seen without growing; and no more than announcedBytes before
		// anything has come.
		buf = make([]byte, 0, min(expected+1, announcedBytes))
	}
	if err := s.hold(l, int64(cap(buf))); err != nil {
		return nil, err
	}
	for {
		if len(buf) == cap(buf) {
			grown := min(2*int64(cap(buf)), limit+1)
			if grown <= int64(cap(buf)) {
				return nil, errTooLarge
			}
			if err := s.hold(l, grown-int64(cap(buf))); err != nil {
				return nil, err
			}
			buf = append(make([]byte, 0, grown), buf...)
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		*p = buf
		if int64(len(buf)) > limit {
			return nil, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			l.bytes += int64(len(buf))
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *Server) hold(l *lease, n int64) error {
	if !s.held.take(n) {
		return s.busy()
	}
	l.held += n
	return nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("%w: the limit is %d bytes after decompression, send smaller batches", errTooLarge, limit)
}

// readError words an error of reading: of the connection first, since what a decompressor says
// follows from it.
func (s *Server) readError(wire *wireReader, encoding string, limit int64, err error) error {
	var r *retryError
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, errTooLarge), wire.over:
		return tooLarge(limit)
	case errors.Is(wire.err, os.ErrDeadlineExceeded):
		return &retryError{http.StatusServiceUnavailable, s.cfg.RetryAfter, fmt.Sprintf("the body did not arrive within %s", s.cfg.ReadTimeout), nil}
	case wire.err != nil:
		return fmt.Errorf("%w after %d bytes: %w", errTruncated, wire.read, wire.err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %s ends early after %d bytes", errTruncated, encoding, wire.read)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: the zstd window is over %d bytes", errTooLarge, zstdWindow)
	default:
		return fmt.Errorf("%w as %s: %w", errCorrupt, encoding, err)
	}
}

// wireReader reads what is sent up to a limit and remembers how it ended.
type wireReader struct {
	r    io.Reader
	left int64
	read int64
	over bool
	err  error // other than io.EOF
}

func (w *wireReader) Read(p []byte) (int, error) {
	if w.left <= 0 {
		w.over = true
		return 0, errTooLarge
	}
	if int64(len(p)) > w.left {
		p = p[:w.left]
	}
	n, err := w.r.Read(p)
	w.read += int64(n)
	w.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// decompressor unpacks r; done gives it back to its pool.
type decompressor func(r io.Reader) (src io.Reader, done func(), err error)

var decompressors = map[string]decompressor{
	"": identity, "identity": identity,
	"gzip": unpackGzip, "x-gzip": unpackGzip,
	"deflate": unpackDeflate,
	"zstd":    unpackZstd,
	"br":      unpackBrotli,
}

func identity(r io.Reader) (io.Reader, func(), error) { return r, func() {}, nil }

var gzips, zstds, brotlis sync.Pool

func unpackGzip(r io.Reader) (io.Reader, func(), error) {
	z, ok := gzips.Get().(*gzip.Reader)
	if !ok {
		z = new(gzip.Reader)
	}
	if err := z.Reset(r); err != nil {
		gzips.Put(z)
		return nil, nil, err
	}
	return z, func() { gzips.Put(z) }, nil
}

// unpackDeflate takes zlib, as the standard has it, and bare deflate, as several clients do.
func unpackDeflate(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(2)
	if err != nil {
		return nil, nil, err
	}
	if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		z, err := zlib.NewReader(b)
		if err != nil {
			return nil, nil, err
		}
		return z, func() {}, nil
	}
	return flate.NewReader(b), func() {}, nil
}

func unpackZstd(r io.Reader) (io.Reader, func(), error) {
	z, ok := zstds.Get().(*zstd.Decoder)
	if !ok {
		var err error
		// One goroutine: the request's own.
		z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("make zstd decoder: %w", err)
		}
	}
	if err := z.Reset(r); err != nil {
		zstds.Put(z)
		return nil, nil, err
	}
	return z, func() { zstds.Put(z) }, nil
}

func unpackBrotli(r io.Reader) (io.Reader, func(), error) {
	z, ok := brotlis.Get().(*brotli.Reader)
	if !ok {
		z = new(brotli.Reader)
	}
	if err := z.Reset(r); err != nil {
		brotlis.Put(z)
		return nil, nil, err
	}
	return z, func() { brotlis.Put(z) }, nil
}
