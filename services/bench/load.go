package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// connections is how many requests are on their way at once where nothing else is said.
const connections = 8

// request is one that is ready to be sent.
type request struct {
	path    string
	headers map[string]string
	body    []byte
	// records is how many it carries.
	records int
}

// sent is what became of requests.
type sent struct {
	acks    []time.Duration // each until its good answer, repetitions included
	retried int
	took    time.Duration
}

// client has as many connections as are asked for, and keeps them.
func client(conns int) *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, DisableCompression: true,
	}}
}

// send sends all requests over some connections. In order means in waves, each as wide as there
// are connections: no request leaves before those of the wave before it are answered, for
// receivers that take the samples of a series only in order.
func send(ctx context.Context, base string, requests []request, conns int, inOrder bool) (sent, error) {
	c := client(conns)
	defer c.CloseIdleConnections()
	out := sent{acks: make([]time.Duration, len(requests))}
	var retried atomic.Int64
	one := func(ctx context.Context, i int) error {
		began := time.Now()
		n, err := deliver(ctx, c, base, requests[i])
		out.acks[i] = time.Since(began)
		retried.Add(int64(n))
		return err
	}
	began := time.Now()
	var err error
	if inOrder {
		for first := 0; first < len(requests) && err == nil; first += conns {
			group, ctx := errgroup.WithContext(ctx)
			for i := first; i < min(first+conns, len(requests)); i++ {
				group.Go(func() error { return one(ctx, i) })
			}
			err = group.Wait()
		}
	} else {
		group, ctx := errgroup.WithContext(ctx)
		var next atomic.Int64
		for range conns {
			group.Go(func() error {
				for {
					i := int(next.Add(1) - 1)
					if i >= len(requests) {
						return nil
					}
					if err := one(ctx, i); err != nil {
						return err
					}
				}
			})
		}
		err = group.Wait()
	}
	out.took, out.retried = time.Since(began), int(retried.Load())
	return out, err
}

// deliver sends a request until it is taken; told to come back, it does, for a while.
func deliver(ctx context.Context, c *http.Client, base string, r request) (retried int, err error) {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		wait, err := try(ctx, c, base, r)
		if err == nil {
			return retried, nil
		}
		if wait == 0 || time.Now().After(deadline) {
			return retried, err
		}
		retried++
		select {
		case <-ctx.Done():
			return retried, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// try makes one attempt; with an error that may pass it says how long to wait.
func try(ctx context.Context, c *http.Client, base string, r request) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return 0, err
	}
	for name, value := range r.headers {
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return 0, fmt.Errorf("POST %s: read the answer: %w", r.path, err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		// OTLP says in the answer what of a request is not kept; all else has another status.
		if resp.Header.Get("Content-Type") == mimeProtobuf && len(answer) > 2 {
			return 0, fmt.Errorf("POST %s: records were rejected: %q", r.path, answer)
		}
		return 0, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil {
			seconds = 1
		}
		return time.Duration(max(seconds, 1)) * time.Second, fmt.Errorf("POST %s: %s: %s", r.path, resp.Status, answer)
	default:
		return 0, fmt.Errorf("POST %s: %s: %s", r.path, resp.Status, answer)
	}
}

// swarm sends requests from many clients, each of which waits for its answer before it sends the
// next, for a time.
func swarm(ctx context.Context, base string, requests func(n int) request, clients int, lasting time.Duration) (sent, error) {
	c := client(clients)
	defer c.CloseIdleConnections()
	began := time.Now()
	var (
		out     sent
		mu      sync.Mutex
		next    atomic.Int64
		retried atomic.Int64
	)
	group, ctx := errgroup.WithContext(ctx)
	for range clients {
		group.Go(func() error {
			var acks []time.Duration
			for time.Since(began) < lasting {
				start := time.Now()
				n, err := deliver(ctx, c, base, requests(int(next.Add(1)-1)))
				if err != nil {
					return err
				}
				retried.Add(int64(n))
				acks = append(acks, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			out.acks = append(out.acks, acks...)
			return nil
		})
	}
	err := group.Wait()
	out.took, out.retried = time.Since(began), int(retried.Load())
	return out, err
}

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}
