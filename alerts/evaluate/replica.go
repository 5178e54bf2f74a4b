package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	beatInterval  = 2 * time.Second
	deadAfter     = 5 * time.Second
	renewInterval = 5 * time.Second
	leaseLength   = 15 * time.Second
	// maxSkew is how far a replica's clock may be from the database's.
	maxSkew = 2 * time.Second
)

// replica is this process's part in the evaluation: which shards it holds. All times are the
// database's. It is used by one goroutine.
type replica struct {
	id     string
	shards int
	db     *catalog.DB

	beatAt, renewedAt time.Time
	live              []string
	held              map[int]catalog.Shard
}

func newReplica(id string, shards int, db *catalog.DB) *replica {
	return &replica{id: id, shards: shards, db: db, held: map[int]catalog.Shard{}}
}

// tick beats, renews what is held, takes what is free and gives up what another one should have. A
// lease that could not be renewed in time is not relied upon. It is called between slots. evaluated says
// of each shard up to when it is.
func (r *replica) tick(ctx context.Context, now time.Time, evaluated func() map[int]time.Time) error {
	if now.Sub(r.renewedAt) >= leaseLength {
		r.held = map[int]catalog.Shard{}
	}
	renew := now.Sub(r.renewedAt) >= renewInterval
	if now.Sub(r.beatAt) >= beatInterval {
		live, err := r.db.Beat(ctx, r.id, now, now.Add(-deadAfter))
		if err != nil {
			return err
		}
		renew = renew || !slices.Equal(live, r.live)
		r.live, r.beatAt = live, now
	}
	// While a shard is missing its owner is dead or about to let go: ask each second.
	if want := r.want(); renew || len(want) != len(r.held) {
		held, err := r.db.HoldShards(ctx, r.id, want, now, leaseLength, evaluated())
		if err != nil {
			return err
		}
		r.held = make(map[int]catalog.Shard, len(held))
		for _, s := range held {
			r.held[s.ID] = s
		}
		r.renewedAt = now
	}
	return nil
}

// want are the shards that this replica should have, by rendezvous hashing: when one comes or goes
// only its own shards move.
func (r *replica) want() []int {
	var want []int
	for shard := range r.shards {
		best := slices.MaxFunc(r.live, func(a, b string) int {
			return cmp.Or(cmp.Compare(weight(a, shard), weight(b, shard)), cmp.Compare(a, b))
		})
		if best == r.id {
			want = append(want, shard)
		}
	}
	return want
}

func weight(replica string, shard int) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s", shard, replica)
	v := h.Sum64()
	v ^= v >> 32
	v *= 0x9e3779b97f4a7c15
	return v ^ v>>29
}

// resign gives everything up at once.
func (r *replica) resign(ctx context.Context) error {
	r.held = map[int]catalog.Shard{}
	r.live, r.beatAt, r.renewedAt = nil, time.Time{}, time.Time{}
	return r.db.Leave(ctx, r.id)
}
