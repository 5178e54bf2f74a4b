package replies

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	maxConnections = 50
	// maxConnection is how long a connection lasts, however often something comes by it.
	maxConnection = 5 * time.Minute
)

// gate is a listener with a bound on its connections. One too many is told so and closed.
type gate struct {
	net.Listener

	mu     sync.Mutex
	open   map[*conn]struct{}
	closed bool
}

func newGate(l net.Listener) *gate { return &gate{Listener: l, open: map[*conn]struct{}{}} }

// Accept returns the next connection for which there is room.
func (g *gate) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := g.enter(raw); ok {
			return c, nil
		}
		// So few bytes go into the buffer of a connection that is new: nobody is waited for.
		_ = raw.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = raw.Write([]byte("421 4.3.2 Too many connections, try again later\r\n"))
		raw.Close()
	}
}

func (g *gate) enter(raw net.Conn) (*conn, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.open) >= maxConnections {
		return nil, false
	}
	c := &conn{Conn: raw, gate: g, end: time.Now().Add(maxConnection)}
	g.open[c] = struct{}{}
	return c, true
}

// close takes no more connections and lets none of them read on: what has been read is answered.
func (g *gate) close() {
	g.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for c := range g.open {
		c.finish()
	}
}

// conn is a connection from which nothing is read after its end.
type conn struct {
	net.Conn
	gate *gate

	mu  sync.Mutex
	end time.Time
}

// Read says of a connection that ends that it broke off. The library takes the end within a chunk (BDAT)
// for that of the mail otherwise, and half a mail must do nothing.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// SetReadDeadline puts the deadline off, to the end at most.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() || t.After(c.end) {
		t = c.end
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = time.Now()
	_ = c.Conn.SetReadDeadline(c.end) // of a connection that is closed already
}

// Close makes room for another one.
func (c *conn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.open, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
