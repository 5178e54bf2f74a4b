// Package bus carries telemetry from the ingest roles to those who store and watch it: NATS
// JetStream, in this process or in a cluster.
//
// Each signal has a stream of its own. A frame is acknowledged to its publisher once it is on disk.
// Frames that are published at the same time share a message, and so its one sync. Readers read a
// stream strictly in order from a sequence that they keep themselves (in storage/catalog); nothing
// on the bus knows how far they are. Consumed messages are removed by Trim, so that what counts
// against a stream's limit is what nobody has stored yet.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Signal is one kind of telemetry; each has a stream of its own, so that they fill and fail apart.
type Signal string

// The signals.
const (
	Metrics  Signal = "metrics"
	Logs     Signal = "logs"
	Errors   Signal = "errors"
	Checkins Signal = "checkins"
)

// Signals returns all of them.
func Signals() []Signal { return []Signal{Metrics, Logs, Errors, Checkins} }

const (
	// MaxMessageBytes is the hard limit of one message on any server; MaxFrameBytes is that of this one.
	MaxMessageBytes = 4 << 20
	// TargetMessageBytes is the size at which messages are full, unless the server takes only less.
	TargetMessageBytes = 512 << 10

	// minMessageBytes is what a server has to take: the largest piece of a series in a frame of
	// metrics has about 200 KB.
	minMessageBytes = 256 << 10

	// deadRetention bounds how long messages that could not be stored are kept for a person.
	deadRetention = 30 * 24 * time.Hour
	// deadShare is how many times smaller than a signal's the stream of dead letters is.
	deadShare = 8

	// embeddedMaxStore is the limit of all streams of the embedded server together: none, since each
	// has one of its own. JetStream would otherwise make one of the free disk and refuse to start
	// with streams that it had made itself.
	embeddedMaxStore = 1 << 50
)

var (
	// ErrFull says that the buffer has reached its limit: nothing was stored, try again later.
	ErrFull = errors.New("the buffer is full")
	// ErrUnavailable says that the buffer did not answer: the message may or may not be stored; a
	// retry with the same id is safe.
	ErrUnavailable = errors.New("the buffer is not available")
)

// Config says where the bus is and how much it may hold.
type Config struct {
	// URL of a NATS server or cluster with JetStream, or empty for one in this process.
	URL string
	// Dir is the data folder of the embedded server.
	Dir string
	// Prefix is put before stream and subject names, so that several can share a cluster.
	Prefix string
	// MaxBytes is the limit of each signal's stream; dead letters get an eighth of it. On a disk
	// that is too small for all of them the embedded server takes less.
	MaxBytes int64
	// DuplicateWindow is how long a repeated id of a frame is recognised.
	DuplicateWindow time.Duration
	// Replicas of each stream; 1 for a single server.
	Replicas int
	// MinFree is how many bytes of the embedded server's disk, which has so many in all, have to be
	// free, else publishing is ErrFull. Nil, and less than a small reserve, are that reserve.
	MinFree func(total uint64) uint64 `json:"-"`
}

// Bus is a connection to the streams. It is safe for concurrent use.
type Bus struct {
	cfg    Config
	log    *slog.Logger
	server *server.Server // nil when it is elsewhere
	nc     *nats.Conn
	js     jetstream.JetStream

	maxBytes    int // the largest frame that fits into a message
	targetBytes int // of a group

	groups map[Signal]chan *part
	life   context.Context // ends with Close
	end    context.CancelFunc
	loops  sync.WaitGroup

	mu    sync.Mutex
	trims map[Signal][]trimPoint
}

// trimPoint says that everything up to seq had been consumed at a time.
type trimPoint struct {
	at  time.Time
	seq uint64
}

// Open connects, starting the embedded server if there is no URL, and makes the streams.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Bus, error) {
	if cfg.MaxBytes <= 0 || cfg.DuplicateWindow <= 0 {
		return nil, errors.New("open bus: a size limit and a duplicate window are needed")
	}
	cfg.Replicas = max(cfg.Replicas, 1)
	b := &Bus{cfg: cfg, log: log, groups: map[Signal]chan *part{}, trims: map[Signal][]trimPoint{}}
	b.life, b.end = context.WithCancel(context.WithoutCancel(ctx))
	options := []nats.Option{
		nats.Name("midwatch"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectBufSize(-1), // a publish while disconnected fails at once: the client is told to retry
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("bus connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("bus connection restored") }),
	}
	url := cfg.URL
	if url == "" {
		if err := b.startServer(); err != nil {
			return nil, err
		}
		options = append(options, nats.InProcessServer(b.server))
	}
	var err error
	if b.nc, err = nats.Connect(url, options...); err != nil {
		b.Close()
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	if b.js, err = jetstream.New(b.nc); err != nil {
		b.Close()
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	if err := b.checkServer(); err != nil {
		b.Close()
		return nil, err
	}
	if err := b.makeStreams(ctx); err != nil {
		b.Close()
		return nil, err
	}
	for _, s := range Signals() {
		queue := make(chan *part, groupQueue)
		b.groups[s] = queue
		for range groupLoops {
			b.loops.Go(func() { b.publishGroups(s, queue) })
		}
	}
	return b, nil
}

// startServer runs JetStream in this process. It syncs each message before it acknowledges it:
// by default JetStream acknowledges first and syncs within two minutes, which a power cut would
// turn into a broken promise.
func (b *Bus) startServer() error {
	s, err := server.NewServer(&server.Options{
		ServerName:         "midwatch",
		DontListen:         true,
		JetStream:          true,
		StoreDir:           b.cfg.Dir,
		SyncAlways:         true,
		MaxPayload:         MaxMessageBytes + maxHeaderBytes,
		JetStreamMaxMemory: 64 << 20, // memory streams are not used
		JetStreamMaxStore:  embeddedMaxStore,
		NoLog:              true,
		NoSigs:             true,
	})
	if err != nil {
		return fmt.Errorf("make the embedded bus: %w", err)
	}
	b.server = s
	go s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		return errors.New("start the embedded bus: not ready after 30 s")
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return fmt.Errorf("start the embedded bus: JetStream could not use %s", b.cfg.Dir)
	}
	return nil
}

// checkServer finds out what the server can do, and refuses one that cannot do enough.
func (b *Bus) checkServer() error {
	var major, minor int
	version := b.nc.ConnectedServerVersion()
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("the NATS server says that its version is %q: %w", version, err)
	}
	if major < 2 || major == 2 && minor < 9 {
		return fmt.Errorf("the NATS server is version %s; 2.9 or newer is needed", version)
	}
	payload := b.nc.MaxPayload()
	if payload < minMessageBytes+maxHeaderBytes {
		return fmt.Errorf("max_payload of the NATS server is %d bytes; at least %d are needed, and %d for records of up to %d bytes",
			payload, minMessageBytes+maxHeaderBytes, MaxMessageBytes+maxHeaderBytes, MaxMessageBytes)
	}
	b.maxBytes = int(min(MaxMessageBytes, payload-maxHeaderBytes))
	b.targetBytes = min(TargetMessageBytes, b.maxBytes)
	if b.maxBytes < MaxMessageBytes {
		b.log.Warn("the max_payload of the NATS server is small: larger records are refused", "max_payload_bytes", payload, "max_record_bytes", b.maxBytes)
	}
	if b.server == nil && b.cfg.Replicas == 1 && major == 2 && minor < 10 {
		b.log.Warn("this version of the NATS server acknowledges before it syncs: a power cut can lose accepted records; 2.10 has sync_interval: always", "version", version)
	}
	return nil
}

// MaxFrameBytes is the largest frame that Publish takes: MaxMessageBytes, or what the server's
// max_payload leaves.
func (b *Bus) MaxFrameBytes() int { return b.maxBytes }

// TargetFrameBytes is the size at which producers begin another frame.
func (b *Bus) TargetFrameBytes() int { return b.targetBytes }

func (b *Bus) makeStreams(ctx context.Context) error {
	configs := make([]jetstream.StreamConfig, 0, len(Signals())+1)
	for _, s := range Signals() {
		configs = append(configs, jetstream.StreamConfig{
			Name:        b.stream(s),
			Description: "accepted " + string(s) + " that wait to be stored",
			Subjects:    []string{b.subject(s)},
			Storage:     jetstream.FileStorage,
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardNew,
			MaxBytes:    b.cfg.MaxBytes,
			MaxMsgSize:  MaxMessageBytes + maxHeaderBytes,
			Replicas:    b.cfg.Replicas,
		})
	}
	configs = append(configs, jetstream.StreamConfig{
		Name:        b.deadStream(),
		Description: "messages that could not be stored",
		Subjects:    []string{b.cfg.Prefix + "dead.>"},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxBytes:    max(b.cfg.MaxBytes/deadShare, 2*MaxMessageBytes),
		MaxAge:      deadRetention,
		Duplicates:  b.cfg.DuplicateWindow,
		Replicas:    b.cfg.Replicas,
	})
	there, err := b.fit(ctx, configs)
	if err != nil {
		return err
	}
	var sum int64
	for _, c := range configs {
		sum += c.MaxBytes
	}
	for i, c := range configs {
		err := b.makeStream(ctx, c)
		if err == nil {
			continue
		}
		if b.server != nil && there[i] {
			// A disk without any room: what is on it can be read, and room tells the others.
			b.log.Warn("the limit of a stream stays as it was", "stream", c.Name, "err", err)
			continue
		}
		if noRoom(err) {
			return fmt.Errorf("make stream %s: the NATS server has no room for its limit of %d bytes, all streams together ask for %d on each of %d servers: "+
				"raise max_file_store in the server's jetstream block (and the account's, if it has one), or lower max_bytes under [bus] in the settings: %w",
				c.Name, c.MaxBytes, sum, c.Replicas, err)
		}
		return fmt.Errorf("make stream %s: %w", c.Name, err)
	}
	return nil
}

// fit changes the limits of streams to what the disk of the embedded server has room for, and to
// what they hold already. It says which of them are there already.
func (b *Bus) fit(ctx context.Context, configs []jetstream.StreamConfig) (there []bool, err error) {
	there = make([]bool, len(configs))
	wanted, held := make([]int64, len(configs)), make([]int64, len(configs))
	for i, c := range configs {
		wanted[i] = c.MaxBytes
		stream, err := b.js.Stream(ctx, c.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find stream %s: %w", c.Name, err)
		}
		there[i] = true
		held[i] = int64(stream.CachedInfo().State.Bytes)
		configs[i].MaxBytes = max(wanted[i], held[i])
	}
	if b.server == nil {
		return there, nil
	}
	free, reserve, err := b.disk()
	if err != nil {
		return nil, err
	}
	limits := share(wanted, held, free, reserve)
	if limits[0] < wanted[0] {
		b.log.Warn("the disk is too small for the buffer that is configured: its limits are lower",
			"free_bytes", free, "configured_bytes_per_signal", b.cfg.MaxBytes, "limit_bytes_per_signal", limits[0])
	}
	for i := range configs {
		configs[i].MaxBytes = limits[i]
	}
	return there, nil
}

// noRoom says whether a stream was refused because there is no place for it.
func noRoom(err error) bool {
	const noPeers, insufficientResources, storageExceeded = 10005, 10023, 10047
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == noPeers || api.ErrorCode == insufficientResources || api.ErrorCode == storageExceeded)
}

// makeStream makes a stream, or changes one that is configured in another way.
//
// A server keeps what a stream is in two files. One that was killed between them forgets the stream,
// and takes up its messages when it is made again, as a stream of another origin; but it writes only
// the file that is missing, so that this would happen at every start and every message would be
// stored anew. A change writes both. It is not asked for without need, since an old server that is
// killed while it writes them loses the stream.
func (b *Bus) makeStream(ctx context.Context, c jetstream.StreamConfig) error {
	stream, err := b.js.Stream(ctx, c.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = b.createStream(ctx, c)
	} else if err == nil && asConfigured(stream.CachedInfo().Config, c) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = b.js.UpdateStream(ctx, c)
	return err
}

// createStream makes a stream that there is not. A server of 2.9 that loses its last stream just then
// removes the folder that the new one goes into, and has it again for the next attempt.
func (b *Bus) createStream(ctx context.Context, c jetstream.StreamConfig) error {
	const attempts, storeNotMade = 10, 10049
	for n := 1; ; n++ {
		_, err := b.js.CreateStream(ctx, c)
		if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != storeNotMade || n == attempts {
			return err
		}
	}
}

// asConfigured reports whether a stream is as wanted, in all that makeStreams sets.
func asConfigured(is, want jetstream.StreamConfig) bool {
	return is.Description == want.Description && slices.Equal(is.Subjects, want.Subjects) &&
		is.Storage == want.Storage && is.Retention == want.Retention && is.Discard == want.Discard &&
		is.MaxBytes == want.MaxBytes && is.MaxAge == want.MaxAge && is.MaxMsgSize == want.MaxMsgSize &&
		is.Replicas == want.Replicas && (want.Duplicates == 0 || is.Duplicates == want.Duplicates)
}

func (b *Bus) stream(s Signal) string { return b.cfg.Prefix + "INGEST_" + string(s) }

func (b *Bus) subject(s Signal) string { return b.cfg.Prefix + "ingest." + string(s) }

// Close ends the connection and the embedded server. Messages that were acknowledged stay.
func (b *Bus) Close() {
	b.end()
	b.loops.Wait()
	if b.nc != nil {
		b.nc.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// Ping reports whether the streams answer.
func (b *Bus) Ping(ctx context.Context) error {
	if _, err := b.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("ping the bus: %w", err)
	}
	return nil
}

// publishError sorts what JetStream says into what a client can be told.
func publishError(s Signal, err error) error {
	if err == nil {
		return nil
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		const insufficientResources, storageExceeded, storeFailed = 10023, 10047, 10077
		switch api.ErrorCode {
		case insufficientResources, storageExceeded, storeFailed:
			return fmt.Errorf("publish %s: %w: %w", s, ErrFull, err)
		}
	}
	return fmt.Errorf("publish %s: %w: %w", s, ErrUnavailable, err)
}

// Origin names this life of a signal's stream: its creation in nanoseconds since 1970. Sequences
// of different origins have nothing to do with each other.
func (b *Bus) Origin(ctx context.Context, s Signal) (int64, error) {
	info, err := b.info(ctx, s)
	if err != nil {
		return 0, err
	}
	return info.Created.UnixNano(), nil
}

// Backlog says how much a signal's stream holds. FirstSeq is the oldest sequence that is still
// there, or LastSeq+1 when the stream is empty.
type Backlog struct {
	Messages uint64
	Bytes    uint64
	FirstSeq uint64
	LastSeq  uint64
}

// Backlog of a signal.
func (b *Bus) Backlog(ctx context.Context, s Signal) (Backlog, error) {
	info, err := b.info(ctx, s)
	if err != nil {
		return Backlog{}, err
	}
	return Backlog{Messages: info.State.Msgs, Bytes: info.State.Bytes, FirstSeq: info.State.FirstSeq, LastSeq: info.State.LastSeq}, nil
}

func (b *Bus) info(ctx context.Context, s Signal) (*jetstream.StreamInfo, error) {
	stream, err := b.js.Stream(ctx, b.stream(s))
	if err != nil {
		return nil, fmt.Errorf("find stream of %s: %w", s, err)
	}
	return stream.CachedInfo(), nil
}

// Trim lets go of the messages up to seq, which every reader has to have finished. They are kept
// for the duplicate window, because a reader that starts knows repeated ids only from the messages
// that are still there; a stream that is half full gives them up at once.
func (b *Bus) Trim(ctx context.Context, s Signal, seq uint64) error {
	info, err := b.info(ctx, s)
	if err != nil {
		return err
	}
	target := seq
	if info.State.Bytes < uint64(info.Config.MaxBytes)/2 {
		target = b.ripe(s, seq, time.Now())
	}
	if target < info.State.FirstSeq || info.State.Msgs == 0 {
		return nil
	}
	stream, err := b.js.Stream(ctx, b.stream(s))
	if err != nil {
		return fmt.Errorf("find stream of %s: %w", s, err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(target+1)); err != nil {
		return fmt.Errorf("trim %s to %d: %w", s, target, err)
	}
	return nil
}

// ripe notes that seq is consumed now and returns the newest sequence that was consumed a
// duplicate window ago.
func (b *Bus) ripe(s Signal, seq uint64, now time.Time) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	points := append(b.trims[s], trimPoint{now, seq})
	var ripe uint64
	for len(points) > 1 && now.Sub(points[0].at) > b.cfg.DuplicateWindow {
		ripe = points[0].seq
		points = points[1:]
	}
	b.trims[s] = points
	return ripe
}
