package cache

import (
	"bytes"
	"net"
	"sync"
)

// writeAhead is how many writes of the client, of 32 KiB at most, wait for the embedded server:
// more than the largest pipeline needs.
const writeAhead = 64

// eagerConn is a connection to the embedded server that takes what is written before the server
// reads it. The connection below has no buffer: without this a client that still writes a
// pipeline and the server that already answers it would wait for each other.
type eagerConn struct {
	net.Conn
	out    chan []byte
	closed chan struct{}
	once   sync.Once
	done   sync.WaitGroup
}

func newEagerConn(conn net.Conn) *eagerConn {
	c := &eagerConn{Conn: conn, out: make(chan []byte, writeAhead), closed: make(chan struct{})}
	c.done.Go(c.forward)
	return c
}

func (c *eagerConn) forward() {
	for {
		select {
		case <-c.closed:
			return
		case p := <-c.out:
			if _, err := c.Conn.Write(p); err != nil {
				_ = c.shut() // whoever writes or waits for an answer learns of it
				return
			}
		}
	}
}

// Write never waits for long: whoever waits for the answer has a deadline.
func (c *eagerConn) Write(p []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case c.out <- bytes.Clone(p):
		return len(p), nil
	}
}

// Close ends the connection and waits for what forwards.
func (c *eagerConn) Close() error {
	err := c.shut()
	c.done.Wait()
	return err
}

func (c *eagerConn) shut() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
