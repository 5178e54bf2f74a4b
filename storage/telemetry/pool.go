package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
)

// pool keeps connections for what is sent and received by block.
type pool struct {
	options ch.Options
	hosts   []string
	next    atomic.Uint32 // which host to dial
	inserts chan struct{} // slots; those of inserts are theirs alone, so that no read can starve them
	reads   chan struct{} // slots

	mu     sync.Mutex
	idle   []*ch.Client
	closed bool
}

var errClosed = errors.New("the store is closed")

func newPool(o *clickhouse.Options) *pool {
	return &pool{
		hosts:   o.Addr,
		inserts: make(chan struct{}, insertConns),
		reads:   make(chan struct{}, sampleConns),
		options: ch.Options{
			Database:    o.Auth.Database,
			User:        o.Auth.Username,
			Password:    o.Auth.Password,
			Compression: ch.CompressionLZ4,
			ClientName:  "midwatch",
			// How soon a call notices that its context has ended.
			ReadTimeout:      time.Second,
			DialTimeout:      dialTimeout,
			HandshakeTimeout: dialTimeout,
			TLS:              cloneTLS(o.TLS),
		},
	}
}

// do runs a query in one of the slots, p.inserts or p.reads. A connection that turns out to be dead because the server went away since its
// last use is replaced once: every query that comes here may be sent twice.
func (p *pool) do(ctx context.Context, slots chan struct{}, q ch.Query) error {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c, err := p.take()
	if err != nil {
		return err
	}
	if c != nil {
		answered := false
		if handle := q.OnResult; handle != nil {
			q.OnResult = func(ctx context.Context, b proto.Block) error {
				answered = true
				return handle(ctx, b)
			}
		}
		err := c.Do(ctx, q)
		if err == nil {
			p.put(c)
			return nil
		}
		discard(c)
		if answered || ch.IsException(err) || ctx.Err() != nil {
			return err
		}
		p.drop() // the others are of the same age
	}
	c, err = p.dial(ctx)
	if err != nil {
		return err
	}
	if err := c.Do(ctx, q); err != nil {
		discard(c)
		return err
	}
	p.put(c)
	return nil
}

func (p *pool) take() (*ch.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	n := len(p.idle)
	if n == 0 {
		return nil, nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c, nil
}

func (p *pool) put(c *ch.Client) {
	p.mu.Lock()
	keep := !p.closed && !c.IsClosed()
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		discard(c)
	}
}

// drop closes what is idle.
func (p *pool) drop() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		discard(c)
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}

func (p *pool) dial(ctx context.Context) (*ch.Client, error) {
	options := p.options
	var err error
	for range p.hosts {
		options.Address = p.hosts[int(p.next.Add(1))%len(p.hosts)]
		var c *ch.Client
		if c, err = ch.Dial(ctx, options); err == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("connect to clickhouse: %w", err)
}

// discard closes a connection that is of no more use; that it may be closed already is no news.
func discard(c *ch.Client) { _ = c.Close() }
