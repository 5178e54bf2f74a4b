package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// blockPatience is how long Prometheus may take until it begins to write blocks: it looks once a
// minute.
const blockPatience = 3 * time.Minute

func (b *bench) prometheus(ctx context.Context, binary string, corpus *metricCorpus) (err error) {
	p, err := b.start(ctx, "prometheus", binary, "", "/-/ready",
		"--config.file=DIR/empty.yml", "--storage.tsdb.path=DIR/data", "--web.listen-address=ADDRESS", "--web.enable-remote-write-receiver")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.kill(), os.RemoveAll(p.dir)) }()
	if _, err := settleCPU(ctx, peerQuiet, p.pid()); err != nil {
		return err
	}
	b.set("prometheus_idle_rss_mb", memory(p.pid(), "VmRSS"))
	requests := corpus.remoteWrite(connections)
	before := look(p.pid())
	s, err := send(ctx, p.base, requests, connections, true)
	if err != nil {
		return p.fault(err)
	}
	// Its merges are the blocks that it makes of the head: all but the newest hours.
	var now moment
	err = p.await(ctx, "its blocks", blockPatience, func() error {
		newest, err := counter(ctx, p.base+"/metrics", "prometheus_tsdb_head_max_time")
		if err != nil {
			return err
		}
		oldest, err := counter(ctx, p.base+"/metrics", "prometheus_tsdb_head_min_time")
		if err != nil {
			return err
		}
		if hours := (newest - oldest) / 3.6e6; hours > 3 {
			return fmt.Errorf("the head still holds %.1f hours", hours)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if now, err = settleCPU(ctx, peerQuiet, p.pid()); err != nil {
		return err
	}
	n := corpus.count
	b.report("prometheus_", "samples", n, now.cpu-before.cpu, s, memory(p.pid(), "VmHWM"))
	b.set("prometheus_peak_rss_mb", memory(p.pid(), "VmHWM"))
	if err := p.counts(ctx, corpus); err != nil {
		return err
	}
	blocks, err := filepath.Glob(filepath.Join(p.dir, "data", "*", "meta.json"))
	if err != nil {
		return err
	}
	var bytes int64
	var samples int
	for _, path := range blocks {
		var meta struct{ Stats struct{ NumSamples int } }
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &meta)
		}
		if err != nil {
			return fmt.Errorf("read a block: %w", err)
		}
		size, err := folderBytes(filepath.Dir(path))
		if err != nil {
			return err
		}
		bytes, samples = bytes+size, samples+meta.Stats.NumSamples
	}
	if samples == 0 {
		b.note("the bytes of prometheus are not measured: it has made no blocks of these few hours")
		return nil
	}
	all, err := folderBytes(filepath.Join(p.dir, "data"))
	if err != nil {
		return err
	}
	b.set("prometheus_bytes_per_sample", float64(bytes)/float64(samples))
	b.set("prometheus_all_files_bytes_per_sample", float64(all)/float64(n))
	fmt.Printf("    %.2f bytes a sample in %d blocks, %.2f with the write-ahead log\n", float64(bytes)/float64(samples), len(blocks), float64(all)/float64(n))
	return nil
}
