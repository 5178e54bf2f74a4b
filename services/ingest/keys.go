package ingest

import (
	"container/list"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	keyFresh        = 10 * time.Second // how long a known key is believed without asking again
	keyUnknownFresh = 2 * time.Second  // how long an unknown key stays unknown
	keyRetry        = 2 * time.Second  // how long a failed look-up is not tried again
	keyTimeout      = 3 * time.Second  // how long one look-up may take
	keysKnown       = 16 << 10         // how many known keys are remembered
	keysUnknown     = 4 << 10          // how many unknown keys are remembered
	keyLookups      = 8                // how many look-ups run at once, so that guessing cannot occupy SQL
)

var (
	// errNoKey says that a request named no key.
	errNoKey = errors.New("no ingest key: send it as Authorization: Bearer <key>, as X-Midwatch-Key, or as the user or password of basic authentication")
	// errWrongKey says that no project has the key.
	errWrongKey = errors.New("no project has this ingest key")
)

// Keys finds projects by their ingest key. Answers are remembered for seconds; while SQL does not
// answer, old ones go on being given, so that intake does not depend on it. Safe for concurrent use.
type Keys struct {
	db      *catalog.DB
	now     func() time.Time
	flight  singleflight.Group
	lookups chan struct{}

	mu      sync.Mutex
	known   lru[keyEntry]
	unknown lru[keyEntry]
}

// keyEntry is what is remembered of a key.
type keyEntry struct {
	project catalog.Project // Number 0: nobody has this key
	until   time.Time       // it is believed until then
}

// NewKeys makes a cache over db. It does no I/O.
func NewKeys(db *catalog.DB) *Keys {
	return &Keys{
		db: db, now: time.Now,
		lookups: make(chan struct{}, keyLookups),
		known:   newLRU[keyEntry](keysKnown), unknown: newLRU[keyEntry](keysUnknown),
	}
}

// Project returns the project of a key, or catalog.ErrNotFound. Other errors mean that it cannot
// be told right now.
func (k *Keys) Project(ctx context.Context, key string) (catalog.Project, error) {
	if !validKey(key) {
		return catalog.Project{}, catalog.ErrNotFound
	}
	if entry, ok := k.remembered(key); ok {
		return entry.result()
	}
	v, err, _ := k.flight.Do(key, func() (any, error) {
		// Others wait for this look-up too: it outlives the request that began it.
		return k.lookUp(context.WithoutCancel(ctx), key)
	})
	if err != nil {
		return catalog.Project{}, err
	}
	return v.(keyEntry).result()
}

func (e keyEntry) result() (catalog.Project, error) {
	if e.project.Number == 0 {
		return catalog.Project{}, catalog.ErrNotFound
	}
	return e.project, nil
}

// remembered returns what is known of a key if it is still to be believed.
func (k *Keys) remembered(key string) (keyEntry, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	entry, ok := k.known.get(key)
	if !ok {
		entry, ok = k.unknown.get(key)
	}
	if !ok || !k.now().Before(entry.until) {
		return keyEntry{}, false
	}
	return entry, true
}

func (k *Keys) lookUp(ctx context.Context, key string) (keyEntry, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keyTimeout, errors.New("the key was not found in time"))
	defer cancel()
	project, err := k.ask(ctx, key)

	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil:
		entry := keyEntry{project, k.now().Add(keyFresh)}
		k.unknown.remove(key)
		k.known.put(key, entry)
		return entry, nil
	case errors.Is(err, catalog.ErrNotFound):
		entry := keyEntry{catalog.Project{}, k.now().Add(keyUnknownFresh)}
		k.known.remove(key)
		k.unknown.put(key, entry)
		return entry, nil
	}
	entry, ok := k.known.get(key)
	if !ok {
		return keyEntry{}, fmt.Errorf("look up ingest key: %w", err)
	}
	// SQL does not answer: what was true goes on being true until it does.
	entry.until = k.now().Add(keyRetry)
	k.known.put(key, entry)
	return entry, nil
}

func (k *Keys) ask(ctx context.Context, key string) (catalog.Project, error) {
	select {
	case k.lookups <- struct{}{}:
	case <-ctx.Done():
		return catalog.Project{}, context.Cause(ctx)
	}
	defer func() { <-k.lookups }()
	return k.db.ProjectByKey(ctx, key)
}

// validKey reports whether a text can be a key at all, so that SQL is asked for nothing else.
func validKey(key string) bool {
	if len(key) < 8 || len(key) > 128 {
		return false
	}
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// project finds the project of a request by the key in its headers. Errors are errNoKey,
// errWrongKey, or a *retryError.
func (s *Server) project(ctx context.Context, h http.Header) (catalog.Project, error) {
	return s.projectOf(ctx, offeredKeys(h.Values("X-Midwatch-Key"), h.Values("Authorization")))
}

// projectOf finds the project of the first of some keys that has one.
func (s *Server) projectOf(ctx context.Context, keys []string) (catalog.Project, error) {
	if len(keys) == 0 {
		return catalog.Project{}, errNoKey
	}
	for _, key := range keys {
		project, err := s.keys.Project(ctx, key)
		if err == nil {
			return project, nil
		}
		if !errors.Is(err, catalog.ErrNotFound) {
			return catalog.Project{}, &retryError{http.StatusServiceUnavailable, s.cfg.RetryAfter, "the ingest key cannot be checked right now, send this again later", err}
		}
	}
	return catalog.Project{}, errWrongKey
}

// offeredKeys lists the texts of a request's headers that may be its key, at most four.
func offeredKeys(own, authorization []string) []string {
	var keys []string
	offer := func(key string) {
		if key = strings.TrimSpace(key); key != "" && len(keys) < 4 {
			keys = append(keys, key)
		}
	}
	for _, v := range own {
		offer(v)
	}
	for _, v := range authorization {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(v), " ")
		switch {
		case !ok:
			// Some agents can only set the header as it is.
			offer(scheme)
		case strings.EqualFold(scheme, "Bearer"):
			offer(rest)
		case strings.EqualFold(scheme, "Basic"):
			text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
			if err != nil {
				continue // not a key: the request is refused for want of one
			}
			user, password, _ := strings.Cut(string(text), ":")
			offer(user)
			offer(password)
		}
	}
	return keys
}

// lru remembers a bounded number of values and gives up the one that was not used for longest.
type lru[V any] struct {
	size    int
	entries map[string]*list.Element // of lruEntry[V]
	order   *list.List               // newest first
}

type lruEntry[V any] struct {
	key   string
	value V
}

func newLRU[V any](size int) lru[V] {
	return lru[V]{size: size, entries: map[string]*list.Element{}, order: list.New()}
}

func (l *lru[V]) get(key string) (value V, ok bool) {
	e, ok := l.entries[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(lruEntry[V]).value, true
}

func (l *lru[V]) put(key string, value V) {
	if e, ok := l.entries[key]; ok {
		e.Value = lruEntry[V]{key, value}
		l.order.MoveToFront(e)
		return
	}
	l.entries[key] = l.order.PushFront(lruEntry[V]{key, value})
	if l.order.Len() > l.size {
		l.remove(l.order.Back().Value.(lruEntry[V]).key)
	}
}

func (l *lru[V]) remove(key string) {
	if e, ok := l.entries[key]; ok {
		l.order.Remove(e)
		delete(l.entries, key)
	}
}
